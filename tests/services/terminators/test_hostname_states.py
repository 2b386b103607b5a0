"""The states of a user's hostnames, and the certificates that are served for them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.errors import NotFound
from customer_certificates.gateways.database import Database
from customer_certificates.models import HostnameChallenge, HostnameClaim
from customer_certificates.services.terminators.hostname_states import HostnameStates

from ...factories import a_pair
from ...owners import owner, stranger

__all__ = ["owner", "stranger"]

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def states(database: Database) -> HostnameStates:
    return HostnameStates(database, lambda: NOW)


def claim(engine: sa.Engine, user_id: int, hostname: str, proof: str, **columns: Any) -> None:
    row = {"user_id": user_id, "hostname": hostname, "proof": proof, "claimed_at": NOW, **columns}
    with engine.begin() as connection:
        connection.execute(sa.insert(HostnameClaim).values(row))


def challenge(
    engine: sa.Engine, user_id: int, hostname: str, state: str, expires_at: datetime = NOW + DAY
) -> None:
    row = {
        "user_id": user_id,
        "hostname": hostname,
        "txt_token": "",
        "cname_label": f"{user_id}-{hostname}",
        "http_token": "",
        "state": state,
        "created_at": NOW,
        "expires_at": expires_at,
        "attempts": 0,
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(HostnameChallenge).values(row))


def test_each_hostname_has_a_state(
    engine: sa.Engine, states: HostnameStates, owner: int, stranger: int
) -> None:
    claim(engine, owner, "a.example", "challenge")
    claim(engine, owner, "b.example", "public_ca", proof_until=NOW - DAY)
    claim(engine, owner, "c.example", "none")
    claim(engine, owner, "d.example", "challenge")
    claim(engine, stranger, "e.example", "challenge")
    claim(engine, stranger, "f.example", "none")
    challenge(engine, stranger, "d.example", "contesting")
    challenge(engine, owner, "e.example", "contesting")
    challenge(engine, owner, "f.example", "pending")
    challenge(engine, owner, "g.example", "pending", NOW - DAY)
    challenge(engine, stranger, "h.example", "pending")

    page, next_after = states.page(owner, "", 10)

    assert next_after is None
    assert {of.hostname[0]: (of.state, of.challenge_is_pending) for of in page} == {
        "a": ("proven", False),
        "b": ("lapsed", False),
        "c": ("unproven", False),
        "d": ("contested", False),
        "e": ("contested", False),
        "f": ("taken", True),
        "g": ("unclaimed", False),
    }
    # Nothing is said about the other user's proof.
    assert {of.proof for of in page if of.hostname[0] in "efg"} == {None}
    assert [states.of(owner, of.hostname) for of in page] == page
    assert states.of(owner, "h.example").state == "unclaimed"


def test_a_page_continues_after_the_last_hostname(
    engine: sa.Engine,
    states: HostnameStates,
    owner: int,
    count: Callable[[Callable[[], object]], int],
) -> None:
    for name in "abc":
        claim(engine, owner, f"{name}.example", "none")
        challenge(engine, owner, f"{name}.example", "pending")

    first, after = states.page(owner, "", 2)
    second, end = states.page(owner, after or "", 2)

    assert [of.hostname for of in first + second] == ["a.example", "b.example", "c.example"]
    assert end is None
    assert count(lambda: states.page(owner, "", 2)) == 2
    with pytest.raises(NotFound):
        states.page(2**62, "", 2)
    with pytest.raises(NotFound):
        states.of(2**62, "a.example")


def test_a_hostname_has_the_certificates_that_terminators_serve(
    client: TestClient, states: HostnameStates, owner: int
) -> None:
    def upload(hostname: str, key: str, *, active: bool) -> int:
        pair = a_pair(hostname, key)
        body = {"body": pair.body, "private_key": pair.private_key, "active": active}
        answer = client.simulate_post(f"/users/{owner}/certificates", json=body)
        return int(answer.json["id"])

    wildcard = upload("*.example.com", "P-256", active=True)
    exact = upload("www.example.com", "RSA-2048", active=True)
    upload("later.example.com", "P-256", active=False)
    upload("later.example.org", "P-256", active=False)

    served = {
        of.hostname: [(one.certificate_id, one.key_type) for one in of.served]
        for of in states.page(owner, "", 10)[0]
    }

    assert served == {
        "*.example.com": [(wildcard, "ecdsa")],
        "www.example.com": [(wildcard, "ecdsa"), (exact, "rsa")],
        "later.example.com": [(wildcard, "ecdsa")],
        "later.example.org": [],
    }
    for hostname, certificates in served.items():
        if not hostname.startswith("*"):
            resolved = client.simulate_get("/resolve", params={"hostname": hostname}).json
            selected = [(one["certificate_id"], one["key_type"]) for one in resolved["selected"]]
            assert selected == certificates
