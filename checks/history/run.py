"""One run: clients and faults until the goal is reached, what was found, and the state between."""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from .clients import Clients
from .faults import FAULTS, RESTORE, deck
from .lives import Life, Outcome, Plan
from .restore import restore
from .stack import Backend, Stack

_GAP_SECONDS = (0.3, 1.5)
_LOOK_SECONDS = 0.1
_MOST_WINDOWS = 5
_LARGEST_LOG = 50 * 2**20


# A run is watched as it goes, in a file as well.
_print = partial(print, flush=True)


class Goal(msgspec.Struct, frozen=True):
    """A run ends after `seconds`, or when both other numbers are reached, if they are given."""

    seconds: float
    operations: int = 0
    faults: int = 0


class Setting(msgspec.Struct, frozen=True):
    """The settings of a run. `kinds` are the kinds of faults; () means all possible ones."""

    backend: Backend = "postgresql"
    services: int = 2
    processes: int = 3
    writes: int = 40
    life_seconds: float = 3
    kinds: tuple[str, ...] = ()
    mutant: str | None = None


class Report(msgspec.Struct):
    """The sum of all runs with one state."""

    seed: int
    seconds: float = 0
    next_life: int = 0
    faults: dict[str, int] = {}
    outcome: Outcome = msgspec.field(default_factory=Outcome)

    def count(self, kind: str) -> int:
        """How many problems of one kind were found."""
        return sum(problem.kind == kind for problem in self.outcome.problems)


class Run:
    """Clients and servers in a folder, and one fault after another."""

    def __init__(
        self, folder: Path, setting: Setting, seed: int, say: Callable[[str], object] = _print
    ) -> None:
        """Goes on with the state in `folder`, if there is one; its seed counts then."""
        self._folder = folder
        self._setting = setting
        self._say = say
        self._state = folder / "state.json"
        self._lives = folder / "lives"
        self._lives.mkdir(parents=True, exist_ok=True)
        self.report = (
            msgspec.json.decode(self._state.read_bytes(), type=Report)
            if self._state.exists()
            else Report(seed)
        )
        self._before = msgspec.convert(msgspec.to_builtins(self.report), Report)
        self._restored = Outcome()
        self._windows = 0
        self._shown = len(self.report.outcome.problems)
        self.stack = Stack(
            folder, setting.backend, services=setting.services, mutant=setting.mutant
        )

    def kinds(self) -> list[str]:
        """The faults that are possible here, of those that are wanted."""
        possible = [name for name, fault in FAULTS.items() if fault.is_possible(self.stack)]
        if self.stack.postgresql:
            possible.append(RESTORE)
        wanted = self._setting.kinds
        return [name for name in possible if name in wanted or not wanted]

    def go(self, goal: Goal, *, until_found: bool = False) -> Report:
        """Runs until the goal is reached; with `until_found`, until something was found."""
        began = time.monotonic()
        report = self.report
        number = sum(report.faults.values())
        choices = random.Random(f"{report.seed} {number}")
        kinds = deck(self.kinds(), choices)
        thread = ThreadPoolExecutor(1)
        try:
            self._go_on_with_lives()
            clients = Clients(
                self.stack.urls,
                seed=report.seed,
                processes=self._setting.processes,
                writes=self._setting.writes,
                seconds=self._setting.life_seconds,
                first=report.next_life,
                folder=self._lives,
            )
            try:
                while True:
                    end = time.monotonic() + choices.uniform(*_GAP_SECONDS)
                    while time.monotonic() < end:
                        self._update(clients, began)
                        if self._is_over(goal, began, until_found=until_found):
                            return report
                        time.sleep(_LOOK_SECONDS)
                    kind = next(kinds, None)
                    if kind is None:
                        continue
                    fault = thread.submit(self._inflict, kind, clients, choices, began)
                    while not fault.done():
                        self._update(clients, began)
                        time.sleep(_LOOK_SECONDS)
                    fault.result()
            finally:
                clients.stop(at_once=until_found and bool(report.outcome.problems))
                self._update(clients, began)
        finally:
            thread.shutdown()
            self.stack.close()

    def _go_on_with_lives(self) -> None:
        """Ends the lives that were cut short when the run before was killed."""
        plans = sorted(self._lives.glob("*.json"))
        for path in plans:
            plan = msgspec.json.decode(path.read_bytes(), type=Plan)
            outcome = Life(self.stack.urls, plan, self._lives).go_on()
            self._restored.add(outcome)
        if plans:
            self._say(f"{len(plans)} histories of the run before have been ended")

    def _inflict(self, kind: str, clients: Clients, choices: random.Random, began: float) -> None:
        for number in self.stack.start_ended_services():
            self._say(
                f"{_clock(began)}  service {number} had ended by itself, and was started again"
            )
        start = _clock(began)
        if kind == RESTORE:
            with clients.pause():
                self._restored.add(restore(self.stack, choices.getrandbits(32)))
            words = "of a backup, with what a user wrote after it undone"
        else:
            words = FAULTS[kind].inflict(self.stack, choices)
        self._say(f"{start}  {kind}: {words}")
        self.report.faults = dict(Counter(self.report.faults) + Counter([kind]))
        for service in self.stack.services:
            if service.log.stat().st_size > _LARGEST_LOG:
                service.log.write_bytes(b"")

    def _update(self, clients: Clients, began: float) -> None:
        report, before = self.report, self._before
        outcome = Outcome()
        for part in (before.outcome, self._restored, clients.total()):
            outcome.add(part)
        report.outcome = outcome
        report.next_life = clients.next_life
        report.seconds = before.seconds + time.monotonic() - began
        unsaid = outcome.problems[self._shown :]
        self._shown = len(outcome.problems)
        for problem in unsaid:
            if problem.text and self._windows < _MOST_WINDOWS:
                self._windows += 1
                self._say(f"{_clock(began)}  {problem.text}")
        written = self._state.with_suffix(".new")
        written.write_bytes(msgspec.json.encode(report))
        written.replace(self._state)

    def _is_over(self, goal: Goal, began: float, *, until_found: bool) -> bool:
        if until_found and self.report.outcome.problems:
            return True
        if time.monotonic() - began >= goal.seconds:
            return True
        wanted = goal.operations or goal.faults
        return bool(wanted) and (
            self.report.outcome.operations >= goal.operations
            and sum(self.report.faults.values()) >= goal.faults
        )


def _clock(began: float) -> str:
    return f"{time.monotonic() - began:7.1f} s"
