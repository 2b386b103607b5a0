"""Repeated requests over real sockets: at the same time, and after a crash."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
import sqlalchemy as sa

from customer_certificates.gateways.files.file_locks import FileLocks
from customer_certificates.models import IdempotencyRecord

from .conftest import Backend
from .factories import a_user, an_upload
from .service import Service
from .tables import NOW

_WAIT_SECONDS = 30


@contextmanager
def held(backend: Backend, statement: str) -> Iterator[None]:
    """Somebody else's transaction, in which `statement` was run; on SQLite it holds all writes."""
    url = sa.make_url(backend.owner_url)
    if backend.name == "sqlite":
        file = sqlite3.connect(str(url.database), isolation_level=None)
        file.execute("BEGIN IMMEDIATE")
        yield
        file.execute("ROLLBACK")
        file.close()
    else:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain) as connection:
            connection.execute(statement.encode())
            yield
            connection.rollback()


@contextmanager
def running(backend: Backend, name: str) -> Iterator[None]:
    """A request with this key is in progress in this process."""
    if backend.name == "postgresql":
        claimed = (
            "INSERT INTO kept_answers (name, digest, kept_at) VALUES ('\\x{0}', '\\x{0}', '{1}')"
        )
        with held(backend, claimed.format(name, NOW.isoformat())):
            yield
    else:
        file = sa.make_url(backend.owner_url).database
        let_go = FileLocks(Path(f"{file}-running")).acquire(name, 0)
        assert let_go
        yield
        let_go()


def until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not happens():
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.01)


def waits(backend: Backend, engine: sa.Engine) -> bool:
    """Whether a request waits for a lock; SQLite does not tell."""
    if backend.name == "sqlite":
        return True
    with engine.connect() as connection:
        return bool(
            connection.execute(
                sa.text(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
            ).scalar_one()
        )


def test_one_of_many_concurrent_requests_is_processed(service: Service, engine: sa.Engine) -> None:
    """Sends each on a separate connection, so that both worker processes get some."""
    with service.client() as client:
        user = client.post("/users", json=a_user()).headers["Location"]
    path, sent = f"{user}/certificates", an_upload(active=True)

    def upload(number: int) -> httpx.Response:
        with service.client() as client:
            key = {"Idempotency-Key": f"key-{number % 4}"}
            return client.post(path, json=sent, headers=key)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(upload, range(64)))

    assert {answer.status_code for answer in answers} == {201}
    first = [answer for answer in answers if "Idempotency-Replayed" not in answer.headers]
    assert len(first) == 4
    for number, answer in enumerate(answers):
        assert answer.content == answers[number % 4].content
        assert answer.headers["Location"] == answers[number % 4].headers["Location"]
    with service.client() as client:
        assert len(client.get(path).json()) == 4
        audit = [entry["action"] for entry in client.get(f"{user}/audit").json()]
    assert audit == ["user.register"] + ["certificate.upload"] * 4


def test_a_registration_that_races_itself_is_no_conflict(service: Service) -> None:
    sent = a_user()

    def register(_number: int) -> httpx.Response:
        with service.client() as client:
            return client.post("/users", json=sent, headers={"Idempotency-Key": "register"})

    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(2) as threads:
        answers += threads.map(register, range(2))
    assert [answer.status_code for answer in answers if answer.status_code != 503] != []
    assert {answer.status_code for answer in answers} <= {201, 503}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1


def test_a_request_in_progress_is_not_started_again(
    service: Service, backend: Backend, engine: sa.Engine
) -> None:
    with service.client() as client:
        user = client.post("/users", json=a_user()).headers["Location"]
        sent: dict[str, Any] = {"json": {"name": "Ada"}, "headers": {"Idempotency-Key": "held"}}
        with running(backend, sha256(msgspec.json.encode(["open", user, "held"])).hexdigest()):
            answer = client.patch(user, **sent)
            other = client.patch(user, json={"name": "A"}, headers={"Idempotency-Key": "other"})
        assert answer.status_code == 409
        assert answer.json()["errors"][0]["code"] == "idempotency_key_in_use"
        assert int(answer.headers["Retry-After"]) > 0
        assert other.status_code == 200
        assert client.patch(user, **sent).status_code == 200
        outcomes = [entry["outcome"] for entry in client.get(f"{user}/audit").json()]
        assert outcomes == ["done"] * 3


def test_a_request_that_waits_for_another_lock_is_no_conflict(
    service: Service, backend: Backend
) -> None:
    with service.client() as client:
        user = client.post("/users", json=a_user()).headers["Location"]
        number = user.rpartition("/")[2]
        with held(backend, f"SELECT id FROM users WHERE id = {number} FOR UPDATE"):
            answer = client.patch(user, json={"name": "Ada"}, headers={"Idempotency-Key": "alone"})
        assert answer.status_code == 503


def test_a_worker_is_killed_in_the_middle_and_nothing_is_left_running(
    backend: Backend, engine: sa.Engine, folder: Path
) -> None:
    settings = {**backend.settings, "CC_WORKERS": "1"}
    service = Service(settings, folder / f"service-killed-{backend.name}.log")
    try:
        with service.client() as client, ThreadPoolExecutor(1) as threads:
            user = client.post("/users", json=a_user()).headers["Location"]
            path, key = f"{user}/certificates", {"Idempotency-Key": "killed"}
            number = user.rpartition("/")[2]
            with held(backend, f"SELECT id FROM users WHERE id = {number} FOR UPDATE"):
                lost = threads.submit(client.post, path, json=an_upload(), headers=key)
                until(lambda: waits(backend, engine))
                for worker in service.workers():
                    worker.kill()
                with pytest.raises(httpx.TransportError):
                    lost.result()
        with engine.connect() as connection:
            assert connection.execute(sa.select(IdempotencyRecord.__table__)).all() == []
        with service.client() as client:
            until(lambda: answers(client))
            done = client.post(path, json=an_upload(), headers=key)
            assert (done.status_code, "Idempotency-Replayed" in done.headers) == (201, False)
            again = client.post(path, json=an_upload(), headers=key)
            assert again.headers["Idempotency-Replayed"] == "true"
            assert [row["id"] for row in client.get(path).json()] == [done.json()["id"]]
    finally:
        service.kill()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False
