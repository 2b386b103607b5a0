"""What was measured, as text."""

from collections.abc import Mapping, Sequence
from statistics import median

from .load import Result
from .workloads import BARE, WORKLOADS, Workload

# The results of the rounds, by workload and by who did it.
Results = Mapping[tuple[Workload, str], Sequence[Result]]

OURS, FASTAPI, PGBENCH, FALCON = "customer-certificates", "FastAPI", "pgbench", "bare Falcon"
_MOST_P99_MILLISECONDS = 15
_MOST_MEGABYTES = 150


def table(results: Results) -> str:
    """Medians by workload, and how ours compares."""
    lines = [f"{'medians':34}{'requests/s':>11}{'p50 ms':>9}{'p99 ms':>9}   ours beside it"]
    for work in [*WORKLOADS, BARE]:
        lines.append(f"{work.method} {work.target} ({work.title})")
        for (what, name), runs in results.items():
            if what == work:
                lines.append(_line(name, runs) + _beside(results, work, name))
    return "\n".join(lines)


def memory_lines(sizes: Mapping[str, tuple[float, float]]) -> str:
    """Memory by contender: of the two workers, and of all processes."""
    target = f" (to be at most {_MOST_MEGABYTES})"
    return "\n".join(
        f"memory (PSS) of {name}: two workers {workers:.0f} MB{target * (name == OURS)}, "
        f"all processes {whole:.0f} MB"
        for name, (workers, whole) in sizes.items()
    )


def _line(name: str, runs: Sequence[Result]) -> str:
    p50, p99 = median(run.p50 for run in runs), median(run.p99 for run in runs)
    return f"  {name:32}{_rate(runs):>11,.0f}{p50:>9.2f}{p99:>9.2f}   "


def _beside(results: Results, work: Workload, name: str) -> str:
    if name == OURS:
        return f"p99 to be under {_MOST_P99_MILLISECONDS} ms"
    if work == BARE:
        return ""
    ratio = _rate(results[work, OURS]) / _rate(results[work, name])
    if name == FASTAPI:
        return f"{ratio:.1f} x, to be {work.target_fastapi:g} x"
    return f"{ratio:.0%}, to be {work.target_pgbench:.0%}"


def _rate(runs: Sequence[Result]) -> float:
    return median(run.per_second for run in runs)
