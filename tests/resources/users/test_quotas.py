"""Quotas: a user stores no more than an operator allows, also with two requests at once."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.app import create_app
from customer_certificates.gateways.database import Database
from customer_certificates.models import AuditEntry, IdempotencyRecord, Terminator, Token, User
from customer_certificates.services.certificates.versions.cutovers import Cutovers
from customer_certificates.services.quotas.usage import COUNTERS, Usage
from customer_certificates.services.rate_counts import RateCounts

from ...applications import Apps, Clock
from ...conftest import Backend
from ...credentials import bearer, make_token
from ...factories import a_user
from ...ownership import cutovers_on
from ...tables import add_users
from .. import base64_of, refusal, self_signed, store
from ..test_cutovers import at, future
from ..test_resolver import DAY, public

pytestmark = pytest.mark.one_backend

TEXT = {"body": "test body", "private_key": base64_of(b"test private key")}
WEBHOOK = {"url": "https://hooks.example.com/"}
OPERATORS = "Ask an operator of this service to raise it."

Ask = Callable[[int], Result]


def quotas(client: TestClient, user_id: int, **given: Any) -> dict[str, dict[str, int]]:
    answer = client.simulate_get(f"/users/{user_id}/quotas", **given)
    assert answer.status_code == 200, answer.text
    shown: dict[str, dict[str, int]] = answer.json
    return shown


def used(client: TestClient, user_id: int, **given: Any) -> dict[str, int]:
    """The use of each quota of which anything is used."""
    shown = quotas(client, user_id, **given)
    return {name: one["used"] for name, one in shown.items() if one["used"]}


def allow(client: TestClient, user_id: int, **limits: int) -> None:
    answer = client.simulate_put(f"/users/{user_id}/quotas", json=limits)
    assert answer.status_code == 200, answer.text


def at_once(ask: Ask, number: int = 6) -> list[int]:
    """The statuses of so many requests at once, sorted."""
    with ThreadPoolExecutor(number) as threads:
        return sorted(answer.status_code for answer in threads.map(ask, range(number)))


def assert_exceeded(answer: Result, quota: str, limit: int) -> None:
    assert refusal(answer) == (409, "conflict", {quota: "quota_exceeded"})
    assert f"{quota} (limit {limit})" in answer.json["detail"]
    assert OPERATORS in answer.json["detail"]
    assert f"may have {limit} " in answer.json["errors"][0]["detail"]


def test_a_user_is_shown_limits_and_use(reporting: TestClient, owner: int) -> None:
    store(reporting, owner, self_signed("a.example", "b.example"))
    shown = quotas(reporting, owner)

    assert shown["certificates"] == {"limit": 10_000, "used": 1, "default": 10_000}
    assert shown["hostnames"]["used"] == 2
    assert shown["stored_bytes"]["limit"] == 256 * 1024 * 1024
    assert shown["stored_bytes"]["used"] > 500
    assert {name: one["limit"] for name, one in shown.items()} == {
        "certificates": 10_000,
        "stored_bytes": 268_435_456,
        "versions": 50_000,
        "hostnames": 20_000,
        "unproven_hostnames": 100,
        "pending_challenges": 100,
        "tokens": 100,
        "webhooks": 20,
        "idempotency_records": 20_000,
        "terminator_names": 1_000,
    }
    assert reporting.simulate_get("/users/999999/quotas").status_code == 404


def test_an_operator_sets_limits_and_the_audit_says_so(
    client: TestClient, owner: int, engine: sa.Engine
) -> None:
    path = f"/users/{owner}/quotas"
    answer = client.simulate_put(path, json={"certificates": 3, "tokens": 0})
    assert answer.json["certificates"] == {"limit": 3, "used": 0, "default": 10_000}
    assert answer.json["tokens"]["limit"] == 0
    assert client.simulate_get(path).json == answer.json
    tag = answer.headers["ETag"]

    # An omitted quota, or null, has its default again.
    changed = client.simulate_put(
        path, json={"webhooks": 5, "tokens": None}, headers={"If-Match": tag}
    ).json
    limits = {name: one["limit"] for name, one in changed.items()}
    assert (limits["certificates"], limits["tokens"], limits["webhooks"]) == (10_000, 100, 5)
    stale = client.simulate_put(path, json={}, headers={"If-Match": tag})
    assert stale.status_code == 412
    client.simulate_put(path, json={"webhooks": 5})

    with engine.connect() as connection:
        entries = connection.execute(
            sa.select(AuditEntry.outcome, AuditEntry.detail)
            .where(AuditEntry.action == "user.set_quotas")
            .order_by(AuditEntry.seq)
        ).all()
    assert [tuple(entry) for entry in entries] == [
        ("done", '{"limits":{"certificates":3,"tokens":0}}'),
        ("done", '{"limits":{"webhooks":5}}'),
        ("refused", '{"reasons":["precondition_failed"]}'),
        ("unchanged", '{"limits":{"webhooks":5}}'),
    ]


@pytest.mark.parametrize(
    "body", [{"certificate": 1}, {"tokens": -1}, {"tokens": "1"}, {"tokens": 2**53}]
)
def test_no_other_limits_are_taken(client: TestClient, owner: int, body: dict[str, Any]) -> None:
    answer = client.simulate_put(f"/users/{owner}/quotas", json=body)
    assert answer.status_code == 422
    assert client.simulate_put("/users/999999/quotas", json={}).status_code == 404


def test_users_see_their_own_and_set_none(closed: TestClient, engine: sa.Engine) -> None:
    owner, stranger = add_users(engine, 2)
    operator = bearer(make_token(engine, "operator"))
    mine = bearer(make_token(engine, user_id=owner, scopes=["webhooks"]))
    path = f"/users/{owner}/quotas"

    assert closed.simulate_get(path, headers=mine).status_code == 200
    assert closed.simulate_get(path, headers=operator).status_code == 200
    assert closed.simulate_get(f"/users/{stranger}/quotas", headers=mine).status_code == 404
    assert closed.simulate_put(path, json={}, headers=mine).status_code == 403
    assert closed.simulate_put(path, json={}, headers=operator).status_code == 200


@pytest.mark.parametrize("active", [True, False])
def test_certificates(reporting: TestClient, owner: int, active: bool) -> None:
    allow(reporting, owner, certificates=2)
    kept = store(reporting, owner, self_signed("a.example"), active=active)
    path = f"/users/{owner}/certificates"

    def upload(number: int) -> Result:
        name = f"{number}.example"
        return reporting.simulate_post(path, json={**self_signed(name), "active": active})

    assert at_once(upload) == [201] + [409] * 5
    assert_exceeded(upload(9), "certificates", 2)
    assert used(reporting, owner)["certificates"] == 2
    assert len(reporting.simulate_get(path).json) == 2
    # A renewal takes no more certificates; room comes with a deletion.
    assert reporting.simulate_put(kept, json=self_signed("a.example")).status_code == 200
    gone = reporting.simulate_delete(f"{kept}?allow_lost_hostnames=true")
    assert (gone.status_code, upload(9).status_code) == (204, 201)


def test_an_upload_with_a_key_counts_like_any_other(reporting: TestClient, owner: int) -> None:
    allow(reporting, owner, certificates=1)

    def upload(number: int) -> Result:
        return reporting.simulate_post(
            f"/users/{owner}/certificates",
            json=self_signed(f"{number}.example"),
            headers={"Idempotency-Key": str(number)},
        )

    assert at_once(upload) == [201] + [409] * 5


def test_hostnames(reporting: TestClient, owner: int) -> None:
    allow(reporting, owner, hostnames=5)
    path = store(reporting, owner, self_signed("a.example", "b.example"))
    more = self_signed("c.example", "d.example", "e.example", "f.example")
    many = {**more, "allow_lost_hostnames": True}

    assert_exceeded(
        reporting.simulate_post(f"/users/{owner}/certificates", json=more), "hostnames", 5
    )
    # A name counts for each certificate.
    again = store(reporting, owner, self_signed("a.example", "b.example"))
    assert used(reporting, owner)["hostnames"] == 4
    assert_exceeded(reporting.simulate_put(path, json=many), "hostnames", 5)
    reporting.simulate_delete(again)
    assert reporting.simulate_put(path, json=many).status_code == 200
    assert used(reporting, owner)["hostnames"] == 4


@pytest.mark.parametrize("field", ["body", "private_key"])
def test_stored_bytes(reporting: TestClient, owner: int, field: str) -> None:
    large = base64_of(b"x" * 10_000)
    upload = {**TEXT, field: large}
    path = store(reporting, owner, upload)
    size = used(reporting, owner)["stored_bytes"]
    assert 10_000 < size < 20_000
    allow(reporting, owner, stored_bytes=2 * size)

    assert (
        at_once(lambda _: reporting.simulate_post(f"/users/{owner}/certificates", json=upload))
        == [201] + [409] * 5
    )
    # The version before is kept.
    another = {**upload, field: base64_of(b"y" * 10_000)}
    assert_exceeded(reporting.simulate_put(path, json=another), "stored_bytes", 2 * size)
    assert used(reporting, owner)["stored_bytes"] == 2 * size
    reporting.simulate_delete(path)
    assert used(reporting, owner)["stored_bytes"] == size


def test_versions(enforcing: TestClient, owner: int, clock: Clock) -> None:
    path = store(enforcing, owner, public("www.example.com", end=30 * DAY), active=True)
    allow(enforcing, owner, versions=1)

    waits = enforcing.simulate_put(path, json=future())
    assert (waits.status_code, waits.json["pending"]["version"]) == (200, 2)
    assert used(enforcing, owner)["versions"] == 1
    assert used(enforcing, owner)["hostnames"] == 2, "those of the pending version count"
    renewal = public("www.example.com", end=40 * DAY)
    # The pending version is replaced.
    assert enforcing.simulate_put(path, json=renewal).status_code == 200
    assert used(enforcing, owner)["versions"] == 1
    assert_exceeded(
        enforcing.simulate_put(path, json=public("www.example.com", end=50 * DAY)), "versions", 1
    )
    assert_exceeded(enforcing.simulate_post(f"{path}/rollback", json={"version": 1}), "versions", 1)
    assert enforcing.simulate_get(path).json["version"] == 2


def test_a_cutover_is_never_refused_for_a_quota(
    enforcing: TestClient, owner: int, clock: Clock, database: Database
) -> None:
    path = store(enforcing, owner, public("www.example.com", end=30 * DAY), active=True)
    enforcing.simulate_put(path, json=future())
    allow(enforcing, owner, versions=0, hostnames=0, stored_bytes=0, certificates=0)
    clock.now += 6 * DAY

    assert cutovers_on(database, clock).run() == 1
    assert enforcing.simulate_get(path).json["version"] == 2
    assert used(enforcing, owner)["hostnames"] == 1
    assert Usage(database).recount() == 0


def test_webhooks(client: TestClient, owner: int, engine: sa.Engine) -> None:
    allow(client, owner, webhooks=1)
    path = f"/users/{owner}/webhooks"

    assert at_once(lambda _: client.simulate_post(path, json=WEBHOOK)) == [201] + [409] * 5
    assert_exceeded(client.simulate_post(path, json=WEBHOOK), "webhooks", 1)
    assert used(client, owner) == {"webhooks": 1}


def test_tokens(closed: TestClient, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)
    operator = bearer(make_token(engine, "operator"))
    closed.simulate_put(f"/users/{owner}/quotas", json={"tokens": 2}, headers=operator)
    kept = make_token(engine, user_id=owner)
    make_token(engine, user_id=owner, expires_at=sa.func.current_timestamp())
    new = {"name": "one more", "scopes": ["webhooks"], "user_id": owner}

    def make(_: int) -> Result:
        return closed.simulate_post("/tokens", json=new, headers=operator)

    assert at_once(make) == [201] + [409] * 5
    assert_exceeded(make(0), "tokens", 2)
    assert used(closed, owner, headers=operator) == {"tokens": 2}
    closed.simulate_delete(f"/tokens/{kept.id}", headers=operator)
    assert make(0).status_code == 201


def test_tokens_that_open_nothing_do_not_pile_up(closed: TestClient, engine: sa.Engine) -> None:
    owner, stranger = add_users(engine, 2)
    operator = bearer(make_token(engine, "operator"))
    valid = make_token(engine, user_id=owner).id
    with engine.begin() as connection:
        row = connection.execute(sa.select(Token).where(Token.id == valid)).one()._asdict()
        del row["id"]
        row["revoked_at"] = row["created_at"]
        revoked = sa.insert(Token).returning(Token.id)
        dead = sorted(connection.execute(revoked, [row] * 102).scalars())
        others = connection.execute(revoked, {**row, "user_id": stranger}).scalar_one()

    new = {"name": "one more", "scopes": ["webhooks"], "user_id": owner}
    made = closed.simulate_post("/tokens", json=new, headers=operator).json["id"]
    with engine.connect() as connection:
        left = set(connection.execute(sa.select(Token.id)).scalars())
    assert left >= {*dead[2:], others, valid, made}
    assert left.isdisjoint(dead[:2])


def test_idempotency_records(closed: TestClient, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)
    operator = bearer(make_token(engine, "operator"))
    mine = bearer(make_token(engine, user_id=owner))
    path = f"/users/{owner}"
    closed.simulate_put(f"{path}/quotas", json={"idempotency_records": 2}, headers=operator)

    def change(number: int, headers: dict[str, str] = mine) -> Result:
        key = {"Idempotency-Key": f"key {number}".replace(" ", "-")}
        return closed.simulate_patch(path, json={"name": str(number)}, headers={**headers, **key})

    assert change(0).status_code == 200
    assert at_once(change) == [200, 200] + [409] * 4, "number 0 is repeated"
    assert_exceeded(change(9), "idempotency_records", 2)
    # Without a key, and with an operator's token, the request does not count.
    assert closed.simulate_patch(path, json={"name": "x"}, headers=mine).status_code == 200
    assert change(10, operator).status_code == 200
    assert used(closed, owner, headers=operator)["idempotency_records"] == 2
    with engine.begin() as connection:
        connection.execute(
            sa.update(IdempotencyRecord).values(kept_at=IdempotencyRecord.kept_at - DAY)
        )
    assert change(9).status_code == 200


@pytest.mark.both_backends
def test_a_user_with_no_room_for_a_record_can_be_deleted(
    closed: TestClient, engine: sa.Engine
) -> None:
    (owner,) = add_users(engine, 1)
    mine = bearer(make_token(engine, user_id=owner))
    with engine.begin() as connection:
        connection.execute(sa.update(User).values(quotas='{"idempotency_records":0}'))
    key = {"Idempotency-Key": "a-key"}
    assert closed.simulate_delete(f"/users/{owner}", headers={**mine, **key}).status_code == 204


@pytest.mark.parametrize("limited", [True, False])
def test_terminator_names(
    closed: TestClient, engine: sa.Engine, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (owner,) = add_users(engine, 1)
    operator = bearer(make_token(engine, "operator"))
    reach: dict[str, Any] = {"user_ids": f"[{owner}]"} if limited else {}
    edge, another = (bearer(make_token(engine, "terminator", **reach)) for _ in range(2))
    most = 2 if limited else 1000
    closed.simulate_put(f"/users/{owner}/quotas", json={"terminator_names": 2}, headers=operator)

    def report(number: int, headers: dict[str, str] = edge) -> Result:
        said = {"terminator": f"edge-{number}"}
        return closed.simulate_post("/terminators/reports", json=said, headers=headers)

    assert report(0).status_code == 204
    if not limited:
        _report_names(engine, most - 2)
    assert at_once(report) == [204, 204] + [409] * 4, "number 0 is known"
    assert_exceeded(report(9), "terminator_names", most)
    # Another token is another account, unless it is for the same user.
    assert report(9, another).status_code == (409 if limited else 204)
    if limited:
        assert used(closed, owner, headers=operator) == {"terminator_names": 2}
    with engine.connect() as connection:
        reports = sa.select(Terminator.id).where(Terminator.name == "edge-0")
        known = connection.execute(reports).scalar_one()
    closed.simulate_delete(f"/terminators/reports/{known}", headers=operator)
    assert report(9).status_code == 204


def _report_names(engine: sa.Engine, number: int) -> None:
    """Has the token that has reported report so many other names."""
    with engine.begin() as connection:
        row = connection.execute(sa.select(Terminator)).one()._asdict()
        rows = [{**row, "name": f"other-{place}"} for place in range(number)]
        for one in rows:
            del one["id"]
        connection.execute(sa.insert(Terminator), rows)


@pytest.fixture(scope="session")
def _registering(backend: Backend, _apps: Apps) -> Iterator[TestClient]:
    config = backend.closed(
        CC_UPLOAD_CHECKS="report", CC_REGISTRATION="open", CC_TRUSTED_PROXIES="127.0.0.1"
    )
    with closing(create_app(config, now=_apps.clock)) as app:
        yield TestClient(app)


@pytest.fixture
def registering(_registering: TestClient, clock: Clock) -> TestClient:
    """The application with which anybody may register."""
    return _registering


def register(client: TestClient, address: str, **headers: str) -> Result:
    forwarded = {"X-Forwarded-For": address, "X-Forwarded-Proto": "https", **headers}
    return client.simulate_post("/users", json=a_user(), headers=forwarded)


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (["192.0.2.7"], "192.0.2.8"),
        (["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"], "2001:db8:0:2::1"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_registrations_of_a_network_are_limited(
    registering: TestClient,
    engine: sa.Engine,
    database: Database,
    clock: Clock,
    same: list[str],
    other: str,
) -> None:
    for number in range(19):
        assert register(registering, same[number % len(same)]).status_code == 201
    clock.now += timedelta(hours=1)
    assert at_once(lambda number: register(registering, same[number % len(same)]), 2) == [201, 429]
    refused = register(registering, same[0])
    assert refusal(refused) == (429, "too-many-requests", {"registrations": "quota_exceeded"})
    assert int(refused.headers["Retry-After"]) == 23 * 3600 + 1
    with engine.connect() as connection:
        number = connection.execute(sa.select(sa.func.count()).select_from(User)).scalar_one()
    assert number == 20

    assert register(registering, other).status_code == 201
    counts = RateCounts(database, clock)
    assert counts.purge() == 0
    clock.now += timedelta(hours=23)
    assert register(registering, same[0]).status_code == 201
    clock.now += timedelta(hours=1)
    assert counts.purge() == 1, "the other network's; the first one's has begun anew"


def test_a_registration_that_fails_does_not_count(
    registering: TestClient, engine: sa.Engine
) -> None:
    user = a_user()
    headers = {"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https"}
    statuses = [
        registering.simulate_post("/users", json=user, headers=headers).status_code
        for _ in range(25)
    ]
    assert statuses == [201] + [409] * 24
    assert register(registering, "192.0.2.9").status_code == 201


@pytest.mark.both_backends
def test_counters_are_right_whatever_is_done(
    reporting: TestClient, owner: int, clock: Clock, database: Database, engine: sa.Engine
) -> None:
    """Each seed is another sequence of changes; a failure names it."""
    usage = Usage(database)
    cutovers = cutovers_on(database, clock)
    for seed in range(3):
        choose = random.Random(seed)
        _do_much(reporting, owner, choose, clock, cutovers)
        assert usage.recount() == 0, f"seed {seed}"
    with engine.connect() as connection:
        counted = connection.execute(sa.select(*COUNTERS).where(User.id == owner)).one()
    assert all(counted), "something was counted"
    assert used(reporting, owner)["stored_bytes"] == counted[-1]


def _do_much(
    client: TestClient, owner: int, choose: random.Random, clock: Clock, cutovers: Cutovers
) -> None:
    path = f"/users/{owner}/certificates"
    names = ["a.example", "b.example", "*.example.com", "www.example.com"]

    def upload() -> dict[str, Any]:
        if choose.random() < 0.2:
            return {**TEXT, "body": choose.choice(["test body", "Prüfkörper ☃"])}
        return self_signed(*choose.sample(names, choose.randint(1, 3)))

    allow(client, owner, **({"versions": 6} if choose.random() < 0.5 else {}))
    for _ in range(25):
        ids = [one["id"] for one in client.simulate_get(path).json]
        one = f"{path}/{choose.choice(ids)}" if ids else path
        soon = choose.choice([{}, {"activate_at": at(clock.now + 2 * DAY)}])
        match choose.randrange(8) if ids else 0:
            case 0:
                active = {} if soon else {"active": choose.random() < 0.5}
                client.simulate_post(path, json={**upload(), **soon, **active})
            case 1 | 2 | 3:
                client.simulate_put(one, json={**upload(), **soon, "allow_lost_hostnames": True})
            case 4:
                version = {"version": choose.randint(1, 5), "allow_lost_hostnames": True}
                client.simulate_post(f"{one}/rollback", json=version)
            case 5:
                client.simulate_delete(choose.choice([one, f"{one}/pending"]))
            case 6:
                active = {"active": choose.random() < 0.5, "allow_lost_hostnames": True}
                client.simulate_patch(f"{one}/active", json=active)
            case 7:
                clock.now += 3 * DAY
                cutovers.run()
