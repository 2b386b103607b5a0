"""Writes the measured figures as Markdown tables, between two marks of a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .figures import FIGURES, Figure
from .load import Result
from .workloads import BASE, GET_USER, ONE_USER, WORKLOADS, Workload

OURS = "customer-certificates"
_BEGIN, _END = "<!-- written by make bench -->\n", "<!-- end of what make bench writes -->\n"
_NOT_MEASURED = "not measured"


@dataclass
class Report:
    """Results of the rounds by workload and by who did it; figures; the load before each round."""

    base: str | None = None
    rounds: int = 0
    seconds: int = 0
    cores: int = 0
    results: dict[tuple[Workload, str], list[Result]] = field(default_factory=dict)
    figures: dict[Figure, float] = field(default_factory=dict)
    base_figures: dict[Figure, float] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)

    def add(self, work: Workload, name: str, result: Result) -> None:
        self.results.setdefault((work, name), []).append(result)

    def markdown(self) -> str:
        """Both tables, with how they were measured."""
        return f"{self._how()}\n{self._requests()}\n{self._others()}"

    def _how(self) -> str:
        load = f"{min(self.loads):.1f} to {max(self.loads):.1f}" if self.loads else "not known"
        return (
            f"Medians of {self.rounds} rounds of {self.seconds} s on {self.cores} cores, which the "
            f"load generator and the databases share; load average before a round: {load}."
            f"{f' The earlier revision is {self.base}.' if self.base else ''}\n"
        )

    def _requests(self) -> str:
        lines = [
            "| request | a second | p50 ms | p99 ms | beside it |",
            "| --- | --- | --- | --- | --- |",
        ]
        for work in WORKLOADS:
            runs = self.results.get((work, OURS))
            cells = (
                [
                    f"{rate(runs):,.0f}",
                    f"{median(run.p50 for run in runs):.1f}",
                    f"{median(run.p99 for run in runs):.1f}" + _at_most(work.most_p99),
                    ", ".join(self._beside(work)),
                ]
                if runs
                else [_NOT_MEASURED, "", "", ""]
            )
            lines.append(f"| {work.title} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def _beside(self, work: Workload) -> list[str]:
        ours = rate(self.results[work, OURS])
        cells = []
        for peer, target in work.peers.items():
            runs = self.results.get((ONE_USER, OURS) if peer == GET_USER else (work, peer))
            if runs:
                name = self.base if peer == BASE else peer
                wanted = "" if target is None else f" (at least {target:g}x)"
                cells.append(f"{name} {ours / rate(runs):.2g}x{wanted}")
        return cells

    def _others(self) -> str:
        lines = ["| figure | measured | at most | earlier revision |", "| --- | --- | --- | --- |"]
        for figure in FIGURES:
            measured = _value(figure, self.figures.get(figure))
            value = self.base_figures.get(figure)
            base = "" if value is None else _value(figure, value)
            lines.append(
                f"| {figure.title} | {measured} | {_value(figure, figure.most)} | {base} |"
            )
        return "\n".join(lines) + "\n"


def rate(runs: Sequence[Result]) -> float:
    """The median of the requests a second."""
    return median(run.per_second for run in runs)


def write_tables(path: Path, report: Report) -> None:
    """Puts the tables between the marks. What this run did not measure stays as it is there."""
    before, present, after = _parts(path.read_text())
    rows = {_title(line): line for line in present.splitlines()}
    lines = [
        rows.get(_title(line), line) if _NOT_MEASURED in line else line
        for line in report.markdown().splitlines()
    ]
    if not report.results and present:
        # How the requests were measured, and beside which revision.
        lines[0] = present.splitlines()[0]
    content = "".join(f"{line}\n" for line in lines)
    path.write_text(f"{before}{_BEGIN}{content}{_END}{after}")


def table_rows(text: str) -> list[str]:
    """The first cells of the tables' rows between the marks, their heads included."""
    lines = _parts(text)[1].splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    return [row for row in rows if row != "---"]


def rows() -> list[str]:
    """The rows that `table_rows` must return."""
    requests = [work.title for work in WORKLOADS]
    return ["request", *requests, "figure", *(figure.title for figure in FIGURES)]


def _title(line: str) -> str:
    return line.split("|")[1].strip() if line.startswith("|") else line


def _parts(text: str) -> tuple[str, str, str]:
    before, begin, rest = text.partition(_BEGIN)
    between, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"The text lacks the marks {_BEGIN.strip()} and {_END.strip()}.")
    return before, between, after


def _at_most(target: float | None) -> str:
    return "" if target is None else f" (at most {target:g})"


def _value(figure: Figure, value: float | None) -> str:
    if value is None:
        return _NOT_MEASURED
    number = f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"
    unit = figure.unit if figure.unit in ("", "x") else f" {figure.unit}"
    return f"{number}{unit}"
