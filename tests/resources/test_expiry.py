"""Expiring certificates and the notices about them, in the API and on the command line."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.gateways.database import Database
from customer_certificates.models import CertificateHostname, User
from customer_certificates.services.events.log import Events
from customer_certificates.services.expiry.notifier import Expiry

from ..factories import a_pair, an_upload
from ..tables import add_certificates, add_users
from . import refusal

pytestmark = pytest.mark.one_backend

DAY = timedelta(days=1)


def add(engine: sa.Engine, user: int, name: str, days: float, **more: Any) -> int:
    """A certificate that ends in so many days from now."""
    now = datetime.now(UTC)
    (made,) = add_certificates(
        engine,
        user,
        1,
        not_before=now - 60 * DAY,
        not_after=now + days * DAY + timedelta(minutes=1),
        hostnames=json.dumps([name]),
        **more,
    )
    with engine.begin() as connection:
        connection.execute(
            sa.insert(CertificateHostname),
            {"user_id": user, "hostname": name, "certificate_id": made},
        )
    return made


@pytest.fixture
def user(engine: sa.Engine) -> int:
    return add_users(engine, 1)[0]


def test_what_ends_soon_is_listed(client: TestClient, engine: sa.Engine, user: int) -> None:
    late = add(engine, user, "c.example", 29)
    ended = add(engine, user, "a.example", -3, fingerprint_sha256="ab" * 32)
    covered = add(engine, user, "www.b.example", 5)
    add(engine, user, "*.b.example", 31)
    add(engine, user, "d.example", 5, active=False)
    add(engine, add_users(engine, 1)[0], "e.example", 5)

    answer = client.simulate_get(f"/users/{user}/expiring")

    assert answer.status_code == 200
    shown = [(one["id"], one["days_left"], one["covered"]) for one in answer.json]
    assert shown == [(ended, -3, False), (covered, 5, True), (late, 29, False)]
    assert answer.json[0]["hostnames"] == ["a.example"]
    assert answer.json[0]["fingerprint_sha256"] == "ab" * 32
    assert answer.json[0]["not_after"].endswith("Z")
    for within, number in (("0d", 1), ("6d", 2), ("31d", 3), ("32d", 4), ("9999d", 4)):
        path = f"/users/{user}/expiring?within={within}"
        assert len(client.simulate_get(path).json) == number, within


def test_it_is_listed_in_pages(client: TestClient, engine: sa.Engine, user: int) -> None:
    ids = [add(engine, user, f"{days}.example", days) for days in (9, 3, 3, 7, 1)]
    in_order = [ids[4], ids[1], ids[2], ids[3], ids[0]]

    seen, path = [], f"/users/{user}/expiring?limit=2"
    while path:
        answer = client.simulate_get(path)
        seen.append([one["id"] for one in answer.json])
        path = answer.headers.get("link", "<>").split(">")[0].strip("<")

    assert seen == [in_order[:2], in_order[2:4], in_order[4:]]


@pytest.mark.parametrize("within", ["30", "d", "-1d", "1.5d", "10000d", "30h", "³d"])
def test_within_is_a_number_of_days(client: TestClient, user: int, within: str) -> None:
    answer = client.simulate_get(f"/users/{user}/expiring", params={"within": within})

    assert refusal(answer)[::2] == (422, {"within": "invalid_parameter"})


def test_nobody_s_are_not_there(client: TestClient) -> None:
    for path in ("expiring", "expiry"):
        assert client.simulate_get(f"/users/999/{path}").status_code == 404
    answer = client.simulate_put("/users/999/expiry", json={"thresholds": None})
    assert answer.status_code == 404


def test_a_user_says_when_it_is_told(client: TestClient, engine: sa.Engine, user: int) -> None:
    path = f"/users/{user}/expiry"
    certificate = add(engine, user, "a.example", 5, expiry_due=None)

    before = client.simulate_get(path)
    assert before.json == {"thresholds": None}
    put = client.simulate_put(
        path,
        json={"thresholds": ["45d", "10%", "45d"]},
        headers={"If-Match": before.headers["etag"]},
    )
    assert (put.status_code, put.json) == (200, {"thresholds": ["45d", "10%"]})
    assert client.simulate_get(path).json == put.json
    with engine.connect() as connection:
        due = connection.execute(
            sa.text("SELECT id FROM certificates WHERE expiry_due IS NOT NULL")
        ).scalars()
        assert list(due) == [certificate]
        audited = connection.execute(
            sa.text("SELECT action, outcome FROM audit WHERE object = :path"), {"path": path}
        ).all()
    assert [tuple(one) for one in audited] == [("user.change", "done")]

    stale = client.simulate_put(
        path, json={"thresholds": []}, headers={"If-Match": before.headers["etag"]}
    )
    assert stale.status_code == 412
    assert client.simulate_put(path, json={"thresholds": None}).json == {"thresholds": None}
    with engine.connect() as connection:
        assert connection.execute(sa.select(User.expiry_thresholds)).scalar_one() is None


def test_a_put_is_carried_out_once(client: TestClient, user: int) -> None:
    path, key = f"/users/{user}/expiry", {"Idempotency-Key": "once"}
    answers = [
        client.simulate_put(path, json={"thresholds": ["5d"]}, headers=key) for _ in range(2)
    ]

    assert [answer.json for answer in answers] == [{"thresholds": ["5d"]}] * 2
    assert answers[1].headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"thresholds": "30d"}, 422),
        ({"thresholds": ["0d"]}, 422),
        ({"thresholds": ["1000d"]}, 422),
        ({"thresholds": ["100%"]}, 422),
        ({"thresholds": ["30"]}, 422),
        ({"thresholds": ["30d\n"]}, 422),
        ({"thresholds": ["expired"]}, 422),
        ({"thresholds": [30]}, 422),
        ({"thresholds": [f"{days}d" for days in range(1, 12)]}, 422),
        ({"thresholds": [], "more": 1}, 422),
    ],
)
def test_what_is_no_threshold(
    client: TestClient, user: int, body: dict[str, Any], status: int
) -> None:
    answer = client.simulate_put(f"/users/{user}/expiry", json=body)

    assert refusal(answer)[0] == status


def test_what_is_served_is_looked_at(client: TestClient, database: Database, owner: int) -> None:
    """And told of as any event is."""
    certificates = f"/users/{owner}/certificates"

    def tell(days: float) -> list[str]:
        """The notices that the owner gets from a worker that runs so many days from now."""
        at = datetime.now(UTC) + days * DAY
        Expiry(database, Events(database, lambda: at), lambda: at, by_mail=False).notify()
        kinds = [one["type"] for one in client.simulate_get(f"/users/{owner}/events").json]
        return [kind for kind in kinds if kind.startswith("certificate.expir")]

    made = client.simulate_post(certificates, json=an_upload()).json
    days_left = (datetime.fromisoformat(made["not_after"]) - datetime.now(UTC)) / DAY
    this = f"{certificates}/{made['id']}"
    assert tell(days_left - 20) == []

    client.simulate_patch(f"{this}/active", json={"active": True})
    assert tell(days_left - 20) == ["certificate.expiring"]
    other = a_pair(key="RSA-2048")
    replacement = {"body": other.body, "private_key": other.private_key}
    assert client.simulate_put(this, json=replacement).status_code == 200
    assert tell(days_left - 20) == ["certificate.expiring"] * 2
    client.simulate_patch(f"{this}/active", json={"active": False})
    assert tell(days_left - 1) == ["certificate.expiring"] * 2
    assert client.simulate_post(f"{this}/rollback", json={"version": 1}).status_code == 200
    client.simulate_patch(f"{this}/active", json={"active": True})
    assert tell(days_left + 1) == ["certificate.expiring"] * 2 + ["certificate.expired"]

    client.simulate_post(certificates, json=an_upload("active.example", active=True))
    assert tell(days_left - 20)[-1] == "certificate.expiring"
