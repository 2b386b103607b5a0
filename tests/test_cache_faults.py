"""While Redis fails in any way, every response is correct, and none is a 5xx."""

import json
import pickle
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from checks.history.clients import Clients

from .conftest import Backend
from .factories import a_user, an_upload
from .servers import Server, start_valkey
from .service import Service, run

_WAIT_SECONDS = 30
# Each new connection is given to either worker process: all of them to one is most unlikely.
_FRESH_CONNECTIONS = 16


@pytest.fixture(scope="module")
def own_valkey(backend: Backend, folder: Path) -> Iterator[Server]:
    server = start_valkey(folder / f"valkey-with-faults-{backend.name}")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def started_service(backend: Backend, own_valkey: Server, folder: Path) -> Iterator[Service]:
    settings = {**backend.settings, "CC_CACHE_URL": own_valkey.url}
    own_valkey.kill()
    service = Service(settings, folder / f"service-with-faults-{backend.name}.log")
    yield service
    service.kill()


@pytest.fixture
def valkey(own_valkey: Server) -> Server:
    """The Redis of `cached_service`, which tests disturb."""
    if not own_valkey.process.is_running():
        own_valkey.start()
    return own_valkey


@pytest.fixture
def cached_service(started_service: Service, valkey: Server) -> Service:
    """A service that started without its Redis, and has connected since."""
    _expect_health(started_service, cache=1)
    return started_service


@pytest.fixture
def store(valkey: Server) -> Iterator[Any]:
    """The content of Redis."""
    with redis.Redis.from_url(valkey.url) as client:
        yield client


@pytest.mark.one_backend
def test_without_redis_at_the_start_the_service_serves_until_there_is_one(
    started_service: Service, own_valkey: Server
) -> None:
    with _played(started_service) as users:
        users(1)
        _expect_health(started_service, cache=0)
        own_valkey.start()
        _expect_health(started_service, cache=1)
        users(1)


@pytest.mark.one_backend("postgresql")
def test_redis_is_killed_and_comes_back(cached_service: Service, valkey: Server) -> None:
    with _played(cached_service) as users:
        users(1)
        valkey.kill()
        users(2)
        _expect_health(cached_service, cache=0)
        valkey.start()
        users(2)
        _expect_health(cached_service, cache=1)


@pytest.mark.one_backend("sqlite")
def test_redis_hangs_and_recovers(cached_service: Service, valkey: Server) -> None:
    with _played(cached_service) as users:
        users(1)
        valkey.pause()
        try:
            users(2)
            _expect_health(cached_service, cache=0)
        finally:
            valkey.resume()
        users(1)
        _expect_health(cached_service, cache=1)


@pytest.mark.one_backend("postgresql")
def test_redis_is_flushed_again_and_again(cached_service: Service, store: Any) -> None:
    with _played(cached_service) as users:
        users(2, meanwhile=store.flushall)
        _expect_health(cached_service, cache=1)


@pytest.mark.one_backend("sqlite")
def test_redis_is_full(cached_service: Service, store: Any) -> None:
    store.config_set("maxmemory-policy", "noeviction")
    store.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            store.set("x", "y")
        with _played(cached_service) as users:
            users(2)
    finally:
        store.config_set("maxmemory", 0)
    _expect_health(cached_service, cache=1)


@pytest.mark.one_backend("sqlite")
def test_redis_requires_another_password(cached_service: Service, valkey: Server) -> None:
    with redis.Redis.from_url(valkey.url) as store:
        store.config_set("requirepass", "not what the service has")
        store.execute_command("CLIENT", "KILL", "SKIPME", "yes")
        try:
            with _played(cached_service) as users:
                users(1)
            _expect_health(cached_service, cache=0)
        finally:
            store.config_set("requirepass", "")
    _expect_health(cached_service, cache=1)


def test_the_service_has_a_wrong_password(folder: Path) -> None:
    valkey = start_valkey(folder / "valkey-with-a-password")
    settings = {
        "CC_DATA_DIR": str(folder / "data-wrong-password"),
        "CC_CACHE_URL": valkey.url.replace("//", "//somebody:a-wrong-password@"),
    }
    assert run("migrate", settings).returncode == 0
    service = Service(settings, log := folder / "service-wrong-password.log")
    try:
        with _played(service) as users:
            users(1)
        _expect_health(service, cache=0)
    finally:
        service.kill()
        valkey.stop()
    assert "a-wrong-password" not in log.read_text()


@pytest.mark.one_backend("postgresql")
def test_garbage_in_redis_is_ignored(cached_service: Service, store: Any) -> None:
    with cached_service.client() as client:
        owner = client.post("/users", json=a_user()).json()["id"]
        stranger = client.post("/users", json=a_user()).json()["id"]
        expected: dict[int, list[int]] = {owner: [], stranger: []}

        def kept() -> bool:
            """Redis has the new list of each user, unless the write took too long."""
            store.flushall()
            for user in (owner, stranger):
                made = client.post(f"/users/{user}/certificates", json=an_upload()).json()
                expected[user].append(made["id"])
                client.get(f"/users/{user}/certificates")
            return bool(store.dbsize() == 2)

        for spoil in _SPOILS:
            _within_time(kept)
            _spoil(store, spoil)

            for user in (owner, stranger):
                assert _lists(cached_service, user) == [expected[user]] * _FRESH_CONNECTIONS
        _expect_health(cached_service, cache=1)


_SPOILS: list[Callable[[bytes, bytes], bytes]] = [
    lambda _own, _other: b"",
    lambda own, _other: own[: len(own) // 2],
    lambda own, _other: own[:-1],
    lambda own, _other: own + b"]",
    # A lie that keeps the name and the length: another id.
    lambda own, _other: own.replace(b'"id":', b'"ID":'),
    lambda _own, other: other,
    lambda own, _other: b"\xff\xfe" + own,
    lambda own, _other: own.partition(b"|")[0] + b"|\xff\xfe\n",
    lambda own, _other: pickle.dumps(own),
    lambda own, _other: own.partition(b"|")[0] + b"|" + pickle.dumps(own),
    lambda _own, _other: b"[" * 100_000,
]


def _spoil(store: Any, spoil: Callable[[bytes, bytes], bytes]) -> None:
    """Replaces each value by `spoil` of that value and the next one."""
    values = {key: store.get(key) for key in store.scan_iter("cc:*")}
    others = [*list(values.values())[1:], *list(values.values())[:1]]
    for (key, own), other in zip(values.items(), others, strict=True):
        store.set(key, spoil(own, other), keepttl=True)


@pytest.mark.one_backend("sqlite")
def test_cache_keys_contain_revisions_and_expire(cached_service: Service, store: Any) -> None:
    store.flushall()
    with _played(cached_service) as users:
        users(1)

    keys = [key.decode() for key in store.scan_iter()]
    assert keys
    for key in keys:
        assert re.fullmatch(
            r"cc:certificates:\d+:4-[0-9a-f]{32}:\((None|True)(, None){5}, 0, 1000, \(\)\)", key
        )
        assert 0 < store.ttl(key) <= 3600
        _, _, name, _, body = re.split(r"[|\n]", store.get(key).decode(), maxsplit=4)
        assert name == key
        assert isinstance(json.loads(body), list)


def test_each_revision_has_its_own_cache_key(cached_service: Service, store: Any) -> None:
    def all_were_kept() -> bool:
        """Writes to Redis are asynchronous: some may be missing, but there are no others."""
        store.flushall()
        with cached_service.client() as client:
            user = client.post("/users", json=a_user()).json()["id"]
            certificates = f"/users/{user}/certificates"
            tags = [client.get(certificates).headers["ETag"]]
            upload = an_upload(f"kept-{user}.example.com")
            one = client.post(certificates, json=upload).json()["id"]
            tags.append(client.get(certificates).headers["ETag"])
            client.patch(f"{certificates}/{one}/active", json={"active": True})
            tags.append(client.get(certificates).headers["ETag"])
            client.delete(f"{certificates}/{one}")
            tags.append(client.get(certificates).headers["ETag"])
        names = {key.decode() for key in store.scan_iter()}
        revisions = {tag.strip('"') for tag in tags}
        assert len(revisions) == 4
        query = "(None, None, None, None, None, None, 0, 100, ())"
        assert names <= {f"cc:certificates:{user}:{revision}:{query}" for revision in revisions}
        return len(names) == 4

    _within_time(all_were_kept)


def _lists(service: Service, user: int) -> list[list[int]]:
    """The list of `user` as each of many connections has it."""
    answers = _asked_on_fresh_connections(service, f"/users/{user}/certificates")
    return [[row["id"] for row in answer] for answer in answers]


def _asked_on_fresh_connections(service: Service, path: str) -> list[Any]:
    """The responses of the service at `path`, on many connections."""
    with service.client(headers={"Connection": "close"}) as client:
        answers = [client.get(path) for _ in range(_FRESH_CONNECTIONS)]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json() for answer in answers]


def _expect_health(service: Service, *, cache: int) -> None:
    """Waits until both worker processes report this state of the cache, without a 5xx."""

    def agreed() -> bool:
        said = _asked_on_fresh_connections(service, "/healthcheck")
        return said == [{"api": 1, "database": 1, "cache": cache}] * _FRESH_CONNECTIONS

    _within_time(agreed)


@contextmanager
def _played(service: Service) -> Iterator[Callable[..., None]]:
    """Writers and readers are at work; gives a function that waits until some users have lived.

    Any answer that is wrong, or that none expects, fails the test.
    """
    with Clients([service.url], seed=1, processes=2, writes=4, seconds=5) as clients:

        def users(number: int, meanwhile: Callable[[], object] = lambda: None) -> None:
            asked = clients.total().lives + number

            def lived() -> bool:
                meanwhile()
                return clients.total().lives >= asked

            _within_time(lived)

        yield users
        outcome = clients.stop()
    assert [problem.text for problem in outcome.problems] == []
    assert set(outcome.statuses) <= {"200", "201", "202", "204", "304", "404"}


def _within_time(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
