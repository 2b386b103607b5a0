"""No response is stale, torn or lost, whatever fails; each broken cache is detected."""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import typer

from checks.history.__main__ import main
from checks.history.client import Target, UserClient
from checks.history.clients import Clients
from checks.history.linearizability import check
from checks.history.lives import FIRST_VALUE, Plan, content_of
from checks.history.operations import State, Write
from checks.history.recording import Recording, now
from checks.history.run import Goal, Run, Setting
from checks.history.stack import Stack

from .broken_caches import MUTANTS
from .service import Service

_WAIT_SECONDS = 60
# Machines differ: the goals are numbers of operations and faults.
_LONGEST_SECONDS = 600
_KINDS = {
    "sqlite": ("worker-kill", "sqlite-lock"),
    "postgresql": ("worker-kill", "postgresql-kill", "redis-flush", "redis-lies"),
}
# One that is found without a fault, in a second or two; `--long` looks for all of them.
_FEW_MUTANTS = ("commit-then-delete",)
_NEED_FAULTS = {"lease": ("redis-pause", "worker-kill"), "counter": ("postgresql-restore",)}
_BEFORE = State("name 0", frozenset())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mutant" in metafunc.fixturenames:
        is_long = metafunc.config.getoption("--long")
        metafunc.parametrize("mutant", MUTANTS if is_long else _FEW_MUTANTS)


@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_no_response_is_wrong_while_servers_fail(
    name: Literal["sqlite", "postgresql"], folder: Path, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--long"):
        setting, goal = Setting(name), Goal(120)
    else:
        kinds = _KINDS[name]
        setting = Setting(name, services=1, kinds=kinds, life_seconds=1)
        goal = Goal(_LONGEST_SECONDS, operations=300, faults=len(kinds))
    run = Run(folder / f"history-{name}", setting, seed=1)
    kinds = tuple(run.kinds())

    report = run.go(goal)

    assert [problem.text for problem in report.outcome.problems] == []
    assert report.outcome.operations >= 300
    assert set(report.faults) == set(kinds)


def test_cached_lists_are_correct_among_many_writers(service: Service) -> None:
    """Without hits, the test above would not test the cache."""
    tiers = ["process"] + ["redis"] * ("postgresql" in service.log.name)
    before = {tier: _pages_from(service, tier) for tier in tiers}

    with Clients([service.url], seed=1, processes=2, writes=8, seconds=2) as clients:
        _within_time(
            lambda: (
                clients.total().lives > 0
                and all(_pages_from(service, tier) > before[tier] for tier in tiers)
            )
        )
        outcome = clients.stop()

    assert [problem.text for problem in outcome.problems] == []
    assert outcome.not_modified


def test_a_broken_cache_is_detected(mutant: str, folder: Path) -> None:
    """It is correct without concurrency: only its races are wrong."""
    needs_faults = mutant in _NEED_FAULTS
    setting = Setting(
        "postgresql" if needs_faults else "sqlite",
        services=1,
        kinds=_NEED_FAULTS.get(mutant, ("none",)),
        mutant=mutant,
    )
    run = Run(folder / f"history-{mutant}", setting, seed=1)
    with _client(run.stack, None) as (client, recording):
        _change(client)
    history = recording.history()

    report = run.go(Goal(_LONGEST_SECONDS), until_found=True)

    assert len(history) == 8
    assert check(history, _BEFORE) == []
    assert "<- no order of these operations explains it" in report.outcome.problems[0].text
    assert {problem.kind for problem in report.outcome.problems} <= {"stale", "torn", "lost"}


def test_a_killed_run_resumes_with_its_histories(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = folder / "history-killed"
    run = Run(state, Setting("sqlite", services=1), seed=7)
    lives = state / "lives"
    for number in (900, 901):
        with _client(run.stack, lives / f"{number}.jsonl") as (client, recording):
            _upload(client)
            recording.keep(Write(50, "killed", now(), None, "upload b", "b", None, FIRST_VALUE))
            plan = Plan(number, seed=7, writes=1, seconds=1, user=client.user)
            (lives / f"{number}.json").write_bytes(msgspec.json.encode(plan))
            if number == 901:
                # It was told of a write that did not happen.
                told = Write(51, "told", now(), now(), "upload c", "c", None, FIRST_VALUE)
                recording.keep(told)
    with (lives / "901.jsonl").open("ab") as file:
        file.write(b'{"type":"write","num')
    run.stack.close()

    with pytest.raises(typer.Exit) as ended:
        main(
            seconds=_LONGEST_SECONDS,
            operations=1,
            kind=["none"],
            state=state,
            database="sqlite",
            services=1,
        )

    assert ended.value.exit_code == 1
    said = capsys.readouterr().out
    assert "2 histories of the run before have been ended" in said
    assert re.search("upload c: done\n.*<- no order of these operations explains it", said)
    table = {line[:15].strip(): line[15:].strip() for line in said.splitlines()}
    assert (table["lost"], table["stale"], table["torn"]) == ("1", "0", "0")
    assert table["unknown writes"] == "2"
    assert list(lives.iterdir()) == []


@contextmanager
def _client(stack: Stack, path: Path | None) -> Iterator[tuple[UserClient, Recording]]:
    """A client of a new user."""
    recording = Recording(path)
    client = UserClient("client", stack.urls, recording, random.Random(), {})
    client.user = client.register(_BEFORE.name or "") or 0
    yield client, recording
    client.http.close()
    recording.close()


def _upload(client: UserClient) -> str:
    """The path of a new certificate."""
    content = {**content_of("a", 1), "active": True}
    path = f"/users/{client.user}/certificates"
    _, body = client.write(Target("upload a", "a", None, FIRST_VALUE, "POST", path, content))
    return f"{path}/{msgspec.json.decode(body)['id']}"


def _change(client: UserClient) -> None:
    """One change after another, each followed by reads."""
    path = _upload(client)
    client.read("list")
    client.read("active")
    off = {"active": False}
    client.write(Target("off", "a", FIRST_VALUE, "v1 inactive", "PATCH", f"{path}/active", off))
    client.read("list", conditional=True)
    client.read("active", conditional=True)
    client.write(Target("delete", "a", "v1 inactive", None, "DELETE", path))
    client.read("list", conditional=True)


def _pages_from(service: Service, tier: str) -> float:
    with service.client() as client:
        for line in client.get("/metrics").text.splitlines():
            if line.startswith(f'customer_certificates_cache_pages_total{{tier="{tier}"}}'):
                return float(line.split()[-1])
    return 0


def _within_time(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
