"""The outcome for each certificate, as a table or a list."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from ...errors import Finding
from ...pki.x509.certificate import Certificate
from ...terminal import escaped
from ..text import NONE, console, counted, day, first_of, places
from .pairing import Collected, NotUploaded
from .upload import Result

# In a narrower terminal, a table of five columns breaks words.
_NARROW_COLUMNS = 90
_NOT_ACTIVE = "not active"
_STYLES = {
    "uploaded": "green",
    "renewed": "green",
    "scheduled": "green",
    "already there": "green",
    "newer is there": "yellow",
    "would be uploaded": "green",
    "would be renewed": "green",
    "would be uploaded with errors": "yellow",
    "would be renewed with errors": "yellow",
    "would be refused": "red",
    "skipped": "yellow",
    _NOT_ACTIVE: "red",
    "refused": "red",
    "failed": "red",
    "error": "red",
    "warning": "yellow",
}


@dataclass(frozen=True, slots=True)
class _Row:
    files: str
    names: str
    expires: str
    trust: str
    outcome: str
    details: str
    is_not_active: bool
    notes: tuple[tuple[str, str], ...]


def with_progress(results: Iterable[Result], total: int) -> list[Result]:
    """Returns all of `results`; shows a progress bar if standard error is a terminal."""
    terminal = console(errors=True)
    columns = (TextColumn("Certificates"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=terminal, transient=True, disable=not terminal.is_terminal
    ) as bar:
        return list(bar.track(results, total=total))


def show(terminal: Console, collected: Collected, results: Sequence[Result], now: datetime) -> None:
    """Prints a row and the findings for each certificate, and a summary."""
    rows = [_row_of(result, now) for result in results]
    rows += [_row_of_not_uploaded(item, now) for item in collected.not_uploaded]
    rows.sort(key=lambda row: row.files)
    if rows:
        terminal.print(_table(rows) if terminal.width >= _NARROW_COLUMNS else _list(rows))
    for row in rows:
        if row.notes:
            terminal.print(Text(row.files, "bold"))
            for severity, note in row.notes:
                style = _STYLES.get(severity, "")
                terminal.print(Text.assemble("  ", (severity, style), "  ", note))
    for path, reason in collected.skipped:
        terminal.print(Text(f"Skipped: {escaped(str(path))} ({escaped(reason)})", "dim"))
    if collected.others:
        verb = "holds" if collected.others == 1 else "hold"
        files = f"{counted(collected.others, 'other file')} {verb}"
        terminal.print(Text(f"{files} neither certificates nor private keys.", "dim"))
    if any(row.notes for row in rows) or collected.skipped or collected.others:
        terminal.print()
    terminal.print(Text(_summary(rows, is_empty=not results)))


def has_failed(collected: Collected, results: Sequence[Result]) -> bool:
    """Returns whether anything failed, or there was nothing to upload."""
    return not results or any(item.is_failure for item in (*results, *collected.not_uploaded))


def _row_of(result: Result, now: datetime) -> _Row:
    is_not_active = result.certificate_id is not None and bool(result.problem)
    details = f"#{result.certificate_id}" if result.certificate_id else ""
    details += f", {_NOT_ACTIVE}" if is_not_active else ", active" if result.is_active else ""
    notes = [_note(finding) for finding in result.findings if finding.severity != "info"]
    if result.problem:
        notes.insert(0, ("error", escaped(result.problem)))
    return _Row(
        places(result.candidate.files),
        *_names_and_expiry(result.candidate.certificate, now),
        escaped(result.trust or NONE),
        result.outcome,
        details,
        is_not_active,
        tuple(notes),
    )


def _row_of_not_uploaded(item: NotUploaded, now: datetime) -> _Row:
    outcome, severity = ("failed", "error") if item.is_failure else ("skipped", "skipped")
    notes = ((severity, escaped(item.reason)),)
    return _Row(
        places((item.path,)),
        *_names_and_expiry(item.certificate, now),
        NONE,
        outcome,
        "",
        False,
        notes,
    )


def _names_and_expiry(certificate: Certificate | None, now: datetime) -> tuple[str, str]:
    """Returns the hostnames and the expiry date."""
    if certificate is None:
        return NONE, NONE
    return first_of(certificate.hostnames), day(certificate.not_after, now)


def _note(finding: Finding) -> tuple[str, str]:
    return finding.severity, escaped(f"{finding.detail} {finding.hint}")


def _outcome(row: _Row) -> Text:
    style = _STYLES[_NOT_ACTIVE if row.is_not_active else row.outcome]
    return Text.assemble((row.outcome, style), f" {row.details}" if row.details else "")


def _table(rows: Sequence[_Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("files", overflow="fold")
    table.add_column("hostnames", overflow="fold")
    for heading in ("expires", "trust", "outcome"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        texts = [Text(text) for text in (row.files, row.names, row.expires, row.trust)]
        table.add_row(*texts, _outcome(row))
    return table


def _list(rows: Sequence[_Row]) -> Text:
    """Returns the rows as a list, for a terminal that is too narrow for a table."""
    return Text("\n").join(
        Text.assemble(
            (row.files, "bold"),
            f"\n  {row.names}\n  expires {row.expires}, trust {row.trust}\n  ",
            _outcome(row),
            "\n",
        )
        for row in rows
    )


def _summary(rows: Sequence[_Row], *, is_empty: bool) -> str:
    outcomes = Counter(row.outcome for row in rows)
    outcomes[_NOT_ACTIVE] = sum(row.is_not_active for row in rows)
    counts = [f"{outcomes[outcome]} {outcome}" for outcome in _STYLES if outcomes[outcome]]
    sentences = [", ".join(counts)] if counts else []
    sentences += ["Nothing to upload"] if is_empty else []
    return ". ".join(sentences) + "."
