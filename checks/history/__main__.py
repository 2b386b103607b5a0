"""Looks for stale, torn and lost answers of the service while its servers fail.

    python -m checks.history --seconds 600

It exits with 1 if it finds any. docs/explanation/testing.md says how to read what it prints.
"""

import random
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tests.broken_caches import MUTANTS

from .faults import FAULTS, RESTORE
from .run import Goal, Report, Run, Setting
from .stack import Backend

_DAY = 86400.0
_PROBLEMS = ("stale", "torn", "lost", "wrong status")


def main(
    seconds: Annotated[float, typer.Option(help="End after so long.")] = 0,
    operations: Annotated[int, typer.Option(help="End after so many, and after --faults.")] = 0,
    faults: Annotated[int, typer.Option(help="End after so many, and after --operations.")] = 0,
    kind: Annotated[
        list[str] | None, typer.Option(help=f"A fault, of {', '.join([*FAULTS, RESTORE])}; 'none'.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Chooses the operations and faults.")] = None,
    state: Annotated[Path | None, typer.Option(help="A folder, to go on later.")] = None,
    database: Annotated[str, typer.Option(help="postgresql (with a Redis) or sqlite.")] = (
        "postgresql"
    ),
    services: Annotated[int, typer.Option(help="Services, of two workers each.")] = 2,
    mutant: Annotated[
        str | None, typer.Option(help=f"Serve a broken cache, one of {', '.join(MUTANTS)}.")
    ] = None,
) -> None:
    """Look for stale, torn and lost answers of the service while its servers fail."""
    if not (seconds or operations or faults):
        seconds = 60
    backend: Backend = "sqlite" if database == "sqlite" else "postgresql"
    setting = Setting(backend, services, kinds=tuple(kind or ()), mutant=mutant)
    chosen = random.SystemRandom().randrange(10**6) if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="history-", ignore_cleanup_errors=True) as temporary:
        run = Run(state or Path(temporary), setting, chosen)
        print(f"seed {run.report.seed}; faults: {', '.join(run.kinds()) or 'none'}", flush=True)
        goal = Goal(seconds or _DAY, operations, faults)
        report = run.go(goal, until_found=mutant is not None)
    print(table(report))
    raise typer.Exit(bool(report.outcome.problems))


def table(report: Report) -> str:
    """The report as text: a line for each count."""
    outcome = report.outcome
    statuses = ", ".join(f"{number} x {name}" for name, number in sorted(outcome.statuses.items()))
    kinds = ", ".join(f"{number} x {name}" for name, number in sorted(report.faults.items()))
    rows = [
        ("seed", str(report.seed)),
        ("seconds", f"{report.seconds:.0f}"),
        ("operations", f"{outcome.operations} ({outcome.writes} writes, {outcome.reads} reads)"),
        ("users", str(outcome.lives)),
        ("304", str(outcome.not_modified)),
        ("answers", statuses),
        ("faults", f"{sum(report.faults.values())}: {kinds}"),
        ("unknown writes", str(outcome.unknown)),
        *((problem, str(report.count(problem))) for problem in _PROBLEMS),
    ]
    return "\n".join(f"{name:>15}  {value}" for name, value in rows)


if __name__ == "__main__":
    typer.run(main)
