"""A pytest plugin: prints the ten slowest tests and fixtures at the end of a run."""

import time
from collections import defaultdict
from collections.abc import Generator
from typing import Any

import pytest

_NUMBER = 10


class Slowest:
    """Durations of this process's tests and fixtures, and those that pytest-xdist workers sent."""

    def __init__(self) -> None:
        self._tests: defaultdict[str, float] = defaultdict(float)
        # Of all set-ups of a fixture: how many, and their seconds.
        self._fixtures: defaultdict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
        # A fixture that asks for another one while it is set up is not charged for that.
        self._inner = [0.0]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        self._inner.append(0.0)
        began = time.perf_counter()
        try:
            return (yield)
        finally:
            seconds = time.perf_counter() - began
            own = seconds - self._inner.pop()
            self._inner[-1] += seconds
            place = fixturedef.baseid.removeprefix("tests/").removeprefix("tests")
            self._add(f"{place}::{fixturedef.argname}" if place else fixturedef.argname, 1, own)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._tests[report.nodeid] += report.duration

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["fixtures"] = dict(self._fixtures)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for name, (number, seconds) in (
            getattr(node, "workeroutput", {}).get("fixtures", {}).items()
        ):
            self._add(name, number, seconds)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(f"{_NUMBER} slowest tests and fixtures")
        tests = sorted(self._tests.items(), key=lambda item: -item[1])
        for name, seconds in tests[:_NUMBER]:
            terminalreporter.line(f"{seconds:7.2f} s  {name}")
        fixtures = sorted(self._fixtures.items(), key=lambda item: -item[1][1])
        for name, (number, seconds) in fixtures[:_NUMBER]:
            terminalreporter.line(f"{seconds:7.2f} s  {name}, set up {number} times")

    def _add(self, name: str, number: int, seconds: float) -> None:
        before = self._fixtures[name]
        self._fixtures[name] = (before[0] + number, before[1] + seconds)
