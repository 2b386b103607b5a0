"""No read is older than an acknowledged write, and no reader sees the list go back."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Backend
from .factories import a_user, an_upload
from .freshness import USER, Clients, Read, Round, Write, judge
from .servers import start_valkey
from .service import Service

_HERE = str(Path(__file__).parents[1])


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    with Clients() as clients:
        yield clients


@pytest.fixture(scope="module")
def seconds(request: pytest.FixtureRequest) -> float:
    """How long to look for a race."""
    return 120 if request.config.getoption("--long") else 3


@pytest.fixture
def stale_service(backend: Backend, folder: Path) -> Iterator[Service]:
    """The service with the cache that it must not have."""
    valkey = start_valkey(folder / f"valkey-stale-{backend.name}")
    path = os.pathsep.join(filter(None, [_HERE, os.environ.get("PYTHONPATH")]))
    service = Service(
        {**backend.settings, "CC_CACHE_URL": valkey.url, "PYTHONPATH": path},
        folder / f"service-stale-{backend.name}.log",
        [sys.executable, "-m", "tests.stale_app"],
    )
    yield service
    service.kill()
    valkey.stop()


def test_every_reader_is_shown_what_was_written_and_no_list_goes_back(
    service: Service, clients: Clients, seconds: float
) -> None:
    violations = clients.play(service.url, _after(seconds))

    assert violations == []


def test_the_caches_answer_among_many_writers(service: Service, clients: Clients) -> None:
    """Without hits, the test above would not test the cache."""
    tiers = ["process"] + ["redis"] * ("postgresql" in service.log.name)
    before = {tier: _pages_from(service, tier) for tier in tiers}

    clients.play(
        service.url, lambda: all(_pages_from(service, tier) > before[tier] for tier in tiers)
    )


def test_a_cache_that_is_deleted_after_the_commit_is_found_out(
    stale_service: Service, clients: Clients
) -> None:
    violations = clients.play(stale_service.url, _after(30))

    assert "older than an acknowledged write" in {violation.kind for violation in violations}


def test_the_cache_that_is_found_out_is_right_while_nobody_is_in_its_way(
    stale_service: Service,
) -> None:
    """It is found out for its races, and not because it does not work at all."""
    with stale_service.client() as client:
        user = client.post("/users", json=a_user()).json()["id"]
        certificates = f"/users/{user}/certificates"
        one = client.post(certificates, json=an_upload()).json()["id"]
        assert [row["active"] for row in client.get(certificates).json()] == [False]
        client.patch(f"{certificates}/{one}/active", json={"active": True})
        assert [row["active"] for row in client.get(certificates).json()] == [True]
        client.delete(f"{certificates}/{one}")
        assert client.get(certificates).json() == []
        client.delete(f"/users/{user}")
        assert client.get(certificates).status_code == 404


# Certificate 1 is there before; 2 is uploaded (10 to 20), then made active (30 to 40).
_WRITES = [Write(10, 20, 2, 1), Write(30, 40, 2, 2)]
_OLD, _NEW, _ACTIVE = {1: False}, {1: False, 2: False}, {1: False, 2: True}


@pytest.mark.parametrize(
    ("reads", "kinds"),
    [
        pytest.param([Read(1, 5, "all", _OLD), Read(21, 25, "all", _NEW)], set(), id="right"),
        pytest.param([Read(11, 15, "all", _NEW)], set(), id="shown before it is acknowledged"),
        pytest.param([Read(11, 25, "all", _OLD)], set(), id="overlapping, so not shown"),
        pytest.param([Read(1, 9, "all", _NEW)], {"ahead of its write"}, id="shown before it is"),
        pytest.param(
            [Read(21, 25, "all", _OLD)], {"older than an acknowledged write"}, id="not shown"
        ),
        pytest.param(
            [Read(41, 45, "active", {})], {"older than an acknowledged write"}, id="not active"
        ),
        pytest.param(
            [Read(11, 13, "all", _NEW), Read(14, 16, "all", _OLD)], {"went back"}, id="back"
        ),
        pytest.param(
            [Read(31, 33, "active", {2: True}), Read(34, 36, "all", _NEW)],
            {"went back"},
            id="back in another view",
        ),
        pytest.param([Read(50, 55, "all", {**_ACTIVE, 9: True})], {"from nowhere"}, id="unknown"),
        pytest.param([Read(50, 55, "all", None)], {"ahead of its write"}, id="404 for a user"),
    ],
)
def test_the_judge_knows_right_from_wrong(reads: list[Read], kinds: set[str]) -> None:
    assert {violation.kind for violation in judge(Round([1], _WRITES, reads))} == kinds


def test_the_judge_lets_two_readers_at_once_see_one_order_only() -> None:
    both_at_once = [Write(0, 100, 1, 1), Write(0, 100, 2, 1)]
    one_way = Read(1, 99, "all", {1: True})
    other_way = Read(1, 99, "all", {1: False, 2: False})

    kinds = [violation.kind for violation in judge(Round([1], both_at_once, [one_way, other_way]))]

    assert kinds == ["in no one order"]
    assert judge(Round([1], both_at_once, [one_way])) == []
    assert judge(Round([1], both_at_once, [other_way])) == []


def test_the_judge_has_a_deleted_user_stay_deleted() -> None:
    deleted = [Write(10, 20, USER, 1)]

    def kinds(*reads: Read) -> list[str]:
        return [violation.kind for violation in judge(Round([1], deleted, reads))]

    assert kinds(Read(21, 25, "all", None)) == []
    assert kinds(Read(21, 25, "all", _OLD)) == ["older than an acknowledged write"]
    assert kinds(Read(11, 13, "all", None), Read(14, 16, "all", _OLD)) == ["went back"]


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _pages_from(service: Service, tier: str) -> float:
    with service.client() as client:
        for line in client.get("/metrics").text.splitlines():
            if line.startswith(f'cc_cache_pages_total{{tier="{tier}"}}'):
                return float(line.split()[-1])
    return 0
