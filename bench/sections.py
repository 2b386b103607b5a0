"""The parts of the bench, in their order; each adds to the report, and prints what has no row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median

from . import (
    aftermath,
    children,
    credentials,
    data,
    disk,
    rounds,
    scale,
    sealing,
    services,
    telling,
)
from .contenders import Contenders, Ours
from .figures import (
    AFTERMATH,
    CREDENTIALS,
    DISK,
    MEMORY,
    MILLION,
    P50_OF_UPLOADS,
    STATEMENTS,
    STATEMENTS_OF_A_LIST,
    WORKERS_MEMORY,
    Figure,
)
from .observe import plan_of, statements_of
from .report import OURS, Report
from .workloads import BASE, LIST_TARGET, READERS, UPLOAD, WRITERS

_READER = READERS[0] + 1


@dataclass(frozen=True)
class Bench:
    """All that a section needs."""

    contenders: Contenders
    report: Report
    users: int
    certificates: int

    def by_revision(self, measure: Callable[[Ours], Mapping[Figure, float]]) -> None:
        """Measures this revision and the one beside it."""
        self.report.figures.update(measure(self.contenders.ours))
        if self.contenders.base:
            self.report.base_figures.update(measure(self.contenders.base))


def requests(bench: Bench) -> None:
    contenders, report = bench.contenders, bench.report
    rounds.measure(contenders, report)
    runs = report.results
    if contenders.base:
        p50 = [median(run.p50 for run in runs[UPLOAD, name]) for name in (OURS, BASE)]
        report.figures[P50_OF_UPLOADS] = p50[0] / p50[1]

    def memory(ours: Ours) -> dict[Figure, float]:
        return dict(zip((WORKERS_MEMORY, MEMORY), services.memory(ours.server), strict=True))

    bench.by_revision(memory)
    for name, server in contenders.peers.items():
        workers, whole = services.memory(server)
        print(f"memory (PSS) of {name}: two workers {workers:.0f} MB, all {whole:.0f} MB")


def attack(bench: Bench) -> None:
    server = bench.contenders.ours.server
    print(children.under_attack(server, bench.report.rounds, bench.report.seconds))


def with_credentials(bench: Bench) -> None:
    def cost(ours: Ours) -> dict[Figure, float]:
        lost, lines = credentials.cost(ours, bench.report.rounds)
        for line in lines:
            print(f"{ours.revision.name}: {line}")
        return {CREDENTIALS: lost}

    bench.by_revision(cost)


def burst(bench: Bench) -> None:
    report = bench.report

    def cost(ours: Ours) -> dict[Figure, float]:
        return {AFTERMATH: aftermath.cost(ours, report.rounds, report.seconds)}

    bench.by_revision(cost)


def statements(bench: Bench) -> None:
    log = bench.contenders.database_log

    def count(ours: Ours) -> dict[Figure, float]:
        ask = partial(statements_of, ours, log)
        return {
            STATEMENTS: ask(f"/users/{_READER}/certificates/{_READER}"),
            STATEMENTS_OF_A_LIST: ask(LIST_TARGET % _READER),
        }

    bench.by_revision(count)


def on_disk(bench: Bench) -> None:
    contenders = bench.contenders

    def size(ours: Ours) -> dict[Figure, float]:
        parts = disk.sizes(
            ours.folder, contenders.database_server, ours.cache, bench.certificates, ours.revision
        )
        return {DISK: sum(part.size for part in parts) / 1000}

    bench.by_revision(size)


def activation(bench: Bench) -> None:
    contenders = bench.contenders
    for line in telling.lines(contenders.database_server, contenders.folder, bench.report.figures):
        print(line)


def costs(bench: Bench) -> None:
    print(children.cost(bench.report.rounds))
    print(sealing.cost(bench.report.rounds))


def plans(bench: Bench) -> None:
    """The same list among the users that were measured, and among many."""
    ours = bench.contenders.ours
    target = LIST_TARGET % _READER
    for population in (WRITERS[1], bench.users):
        data.grow(ours.database, population)
        plan = plan_of(ours, bench.contenders.database_log, target)
        print(f"\nGET {target}, not cached, among {population:,} users:\n{plan}")


def million(bench: Bench) -> None:
    contenders = bench.contenders
    ratio, lines = scale.cost(
        contenders.folder, contenders.database_server, contenders.ours.cache, bench.report.rounds
    )
    print("\n".join(lines))
    bench.report.figures[MILLION] = ratio


# Those of the first list run unless the command line says otherwise.
USUAL = {
    "requests": requests,
    "attack": attack,
    "credentials": with_credentials,
    "burst": burst,
    "statements": statements,
    "disk": on_disk,
    "activation": activation,
    "costs": costs,
    "plans": plans,
}
SECTIONS = {**USUAL, "million": million}
__all__ = ["SECTIONS", "USUAL", "Bench"]
