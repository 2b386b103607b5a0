"""Requests with an Idempotency-Key: executed once, with the same response to each retry."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.gateways.database import Database
from customer_certificates.models import AuditEntry, IdempotencyRecord
from customer_certificates.services.idempotency import IdempotencyStore

from ..applications import Clock
from ..factories import a_user, an_upload
from ..resources import refusal
from ..tables import add_users, dump

pytestmark = pytest.mark.one_backend

KEY = {"Idempotency-Key": "9f2c7a52-0f0e-4c5e-9a55-3a1d1f0f7f10"}
DAY = timedelta(hours=24)
KEPT = ("Location", "ETag", "Content-Type", "Cache-Control")
WRITES: list[tuple[str, str, Any, int]] = [
    ("POST", "/users", a_user(), 201),
    ("PATCH", "/users/{user}", {"name": "Somebody Else", "password": "another"}, 200),
    ("DELETE", "/users/{user}", None, 204),
    ("POST", "/users/{user}/certificates", an_upload(active=True), 201),
    ("PUT", "/users/{user}/certificates/{one}", an_upload(chain=an_upload()["body"]), 200),
    ("PATCH", "/users/{user}/certificates/{one}/active", {"active": True}, 202),
    ("POST", "/users/{user}/certificates/{one}/rollback", {"version": 1}, 200),
    ("DELETE", "/users/{user}/certificates/{one}", None, 204),
]


def number_of(engine: sa.Engine, kind: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(kind)).scalar_one())


def upload(client: TestClient, user_id: int, key: str = KEY["Idempotency-Key"]) -> Result:
    return client.simulate_post(
        f"/users/{user_id}/certificates", json=an_upload(), headers={"Idempotency-Key": key}
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status"), WRITES, ids=lambda part: str(part)[:30]
)
def test_a_repeated_write_gets_the_stored_response(
    client: TestClient,
    engine: sa.Engine,
    owner: int,
    method: str,
    path: str,
    body: Any,
    status: int,
) -> None:
    one = client.simulate_post(f"/users/{owner}/certificates", json=an_upload()).json["id"]
    target = path.format(user=owner, one=one)
    first = client.simulate_request(method, target, json=body, headers=KEY)
    stored, recorded = dump(engine), number_of(engine, AuditEntry)
    again = [client.simulate_request(method, target, json=body, headers=KEY) for _ in range(2)]

    assert first.status_code == status
    assert "Idempotency-Replayed" not in first.headers
    for answer in again:
        assert answer.headers["Idempotency-Replayed"] == "true"
        assert (answer.status_code, answer.content) == (first.status_code, first.content)
        assert [answer.headers.get(name) for name in KEPT] == [
            first.headers.get(name) for name in KEPT
        ]
    assert dump(engine) == stored
    assert number_of(engine, AuditEntry) == recorded


@pytest.mark.both_backends
def test_another_request_with_the_key_is_rejected(
    client: TestClient, engine: sa.Engine, owner: int
) -> None:
    path = f"/users/{owner}"
    assert client.simulate_patch(path, json={"name": "One"}, headers=KEY).status_code == 200
    before = dump(engine)
    expected = (422, "invalid", {"Idempotency-Key": "idempotency_key_reused"})

    assert refusal(client.simulate_patch(path, json={"name": "Two"}, headers=KEY)) == expected
    assert refusal(client.simulate_delete(path, headers=KEY)) == expected
    assert dump(engine) == before


def test_a_key_counts_for_its_path_alone(client: TestClient, owner: int, stranger: int) -> None:
    answers = [upload(client, user_id) for user_id in (owner, stranger)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json["user_id"] == owner
    assert answers[1].json["user_id"] == stranger


def test_a_request_without_a_key_is_executed_each_time(client: TestClient, owner: int) -> None:
    path = f"/users/{owner}/certificates"
    ids = {client.simulate_post(path, json=an_upload()).json["id"] for _ in range(3)}

    assert len(ids) == 3


def test_a_rejection_is_not_stored(client: TestClient, engine: sa.Engine, owner: int) -> None:
    (stranger,) = add_users(engine, 1, email="taken@example.com", email_key="taken@example.com")
    path, change = f"/users/{owner}", {"email": "taken@example.com"}
    assert client.simulate_patch(path, json=change, headers=KEY).status_code == 409
    assert client.simulate_patch(path, json={"name": ""}, headers=KEY).status_code == 422
    assert number_of(engine, IdempotencyRecord) == 0
    client.simulate_delete(f"/users/{stranger}")

    answer = client.simulate_patch(path, json=change, headers=KEY)
    assert (answer.status_code, answer.json["email"]) == (200, "taken@example.com")
    assert "Idempotency-Replayed" not in answer.headers


@pytest.mark.parametrize("key", ["", "two words", "k\u00e9y", "x" * 256, "a\tb"])
def test_an_invalid_key_is_rejected(
    client: TestClient, engine: sa.Engine, owner: int, key: str
) -> None:
    before = dump(engine)

    assert refusal(upload(client, owner, key)) == (
        422,
        "invalid",
        {"Idempotency-Key": "invalid_header"},
    )
    assert dump(engine) == before
    assert upload(client, owner, "x" * 255).status_code == 201


def test_reading_takes_no_notice_of_a_key(client: TestClient, owner: int) -> None:
    for name in ("One", "Two"):
        client.simulate_patch(f"/users/{owner}", json={"name": name})
        answer = client.simulate_get(f"/users/{owner}", headers=KEY)
        assert answer.json["name"] == name


def test_an_answer_is_kept_for_24_hours(reporting: TestClient, clock: Clock, owner: int) -> None:
    first = upload(reporting, owner)
    clock.now += DAY - timedelta(microseconds=1)
    assert upload(reporting, owner).json == first.json
    clock.now += timedelta(microseconds=1)
    anew = upload(reporting, owner)
    assert "Idempotency-Replayed" not in anew.headers
    assert anew.json["id"] > first.json["id"]
    clock.now += DAY - timedelta(microseconds=1)
    assert upload(reporting, owner).json == anew.json


@pytest.mark.both_backends
def test_expired_records_are_deleted_in_batches(
    reporting: TestClient, engine: sa.Engine, database: Database, clock: Clock, owner: int
) -> None:
    for number in range(10):
        upload(reporting, owner, f"key-{number}")
    assert number_of(engine, IdempotencyRecord) == 10
    clock.now += DAY
    upload(reporting, owner, "another")
    assert number_of(engine, IdempotencyRecord) == 7

    repeats = IdempotencyStore(database, clock)
    assert repeats.purge() == 6
    assert number_of(engine, IdempotencyRecord) == 1
    assert repeats.purge() == 0


def test_neither_key_nor_body_is_stored(client: TestClient, engine: sa.Engine, owner: int) -> None:
    change = {"name": "Ada", "password": "a-canary-password"}
    client.simulate_patch(f"/users/{owner}", json=change, headers=KEY)
    with engine.connect() as connection:
        (row,) = connection.execute(sa.select(IdempotencyRecord.__table__)).all()

    assert "canary" not in str(tuple(row))
    assert KEY["Idempotency-Key"] not in str(tuple(row))
