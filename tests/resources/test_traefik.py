"""Traefik serves a certificate for every name in it: nobody's certificate for another's name."""

import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from falcon.testing import TestClient

from ..applications import Clock
from ..credentials import bearer, make_token
from ..pki.authority import a_leaf, ec_key, issue
from ..traefik_choice import is_placeholder, may_serve
from . import an_upload_of, base64_of, der_of, pem, refusal, self_signed, store
from .test_resolver import DAY, WWW, add, public
from .test_terminators import LONG, TRAEFIK

pytestmark = pytest.mark.one_backend

WILD, SHOP = "*.example.com", "shop.example.com"


def configuration(client: TestClient, **options: Any) -> dict[str, Any]:
    answer = client.simulate_get(TRAEFIK, **options)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def leaf_of(upload: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificates(upload["body"].encode())[0]


def named(common_name: str, hostname: str) -> dict[str, Any]:
    """A self-signed certificate for `hostname` with another common name."""
    leaf = issue(common_name, common_name, hostnames=[hostname])
    return {"body": pem(leaf), "private_key": base64_of(der_of(ec_key(common_name)))}


def test_an_owner_without_a_valid_certificate_is_not_served_anothers_wildcard(
    reporting: TestClient, owner: int, stranger: int, clock: Clock
) -> None:
    wildcard = public(WILD, end=80 * DAY)
    add(reporting, stranger, wildcard)
    exact = store(reporting, owner, public(end=2 * DAY), active=True)
    before = configuration(reporting)
    assert len(before["tls"]["certificates"]) == 2
    clock.now += 3 * DAY

    (served,) = may_serve(configuration(reporting), WWW)
    assert is_placeholder(served)
    assert may_serve(configuration(reporting), SHOP) == {leaf_of(wildcard)}
    placeholder = configuration(reporting)["tls"]["certificates"][-1]
    key = load_pem_private_key(placeholder["keyFile"].encode(), None)
    assert key.public_key() == served.public_key()
    first = reporting.simulate_get(TRAEFIK)
    tag = {"If-None-Match": first.headers["ETag"]}
    assert reporting.simulate_get(TRAEFIK).content == first.content
    assert reporting.simulate_get(TRAEFIK, headers=tag).status_code == 304

    renewed = public(end=80 * DAY)
    assert reporting.simulate_put(exact, json=renewed).status_code == 200
    assert may_serve(reporting.simulate_get(TRAEFIK, headers=tag).json, WWW) == {leaf_of(renewed)}


def test_an_owner_without_a_key_is_not_served_anothers_wildcard(
    reporting: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    add(reporting, stranger, public(WILD))
    exact = add(reporting, owner, public())
    with engine.begin() as connection:
        connection.execute(
            sa.text("DELETE FROM private_keys WHERE certificate_id = :id"), {"id": exact}
        )

    (served,) = may_serve(configuration(reporting), WWW)
    assert is_placeholder(served)


def test_an_owners_own_wildcard_is_served_without_a_placeholder(
    reporting: TestClient, owner: int, clock: Clock
) -> None:
    wildcard = public(WILD)
    add(reporting, owner, wildcard)
    add(reporting, owner, public(end=2 * DAY))
    clock.now += 3 * DAY

    assert may_serve(configuration(reporting), WWW) == {leaf_of(wildcard)}
    assert len(configuration(reporting)["tls"]["certificates"]) == 1


def test_a_certificate_that_lost_a_name_is_left_out_and_another_one_takes_its_place(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    """Traefik would take any of the two certificates for the name."""
    lost = self_signed("left.example.org", WWW)
    add(reporting, stranger, lost)
    proven = public()
    add(reporting, owner, proven)

    assert may_serve(configuration(reporting), WWW) == {leaf_of(proven)}
    assert may_serve(configuration(reporting), "left.example.org") == set()
    other = self_signed("left.example.org")
    add(reporting, stranger, other)
    assert may_serve(configuration(reporting), "left.example.org") == {leaf_of(other)}


@pytest.mark.parametrize(
    "common_name",
    [WWW, WWW.upper(), f"{WWW}.", f"left.example.org,{WWW}", SHOP, WILD, "*.*.com", "*.*.*"],
)
def test_a_common_name_that_is_anothers_keeps_a_certificate_out(
    reporting: TestClient, owner: int, stranger: int, common_name: str
) -> None:
    proven = public(WILD, hostnames=[WILD, WWW])
    add(reporting, owner, proven)
    add(reporting, stranger, named(common_name, "left.example.org"))

    for hostname in (WWW, SHOP):
        assert may_serve(configuration(reporting), hostname) == {leaf_of(proven)}


@pytest.mark.parametrize("common_name", ["Example Ltd", "left", "left.example.org", "x.test"])
def test_a_common_name_that_is_nobody_elses_changes_nothing(
    reporting: TestClient, owner: int, stranger: int, common_name: str
) -> None:
    add(reporting, owner, public(WILD))
    sent = named(common_name, "left.example.org")
    add(reporting, stranger, sent)

    assert may_serve(configuration(reporting), "left.example.org") == {leaf_of(sent)}


def test_a_limited_token_is_not_told_of_others_names(
    reporting: TestClient, closed: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    wildcard = public(WILD, **LONG)
    add(reporting, stranger, wildcard)
    long_ago = timedelta(days=-9), timedelta(days=-8)
    add(reporting, owner, public(start=long_ago[0], end=long_ago[1]), grant_hostnames=True)
    for column, reach in (("user_ids", [stranger]), ("hostnames", [SHOP])):
        limits: dict[str, Any] = {column: json.dumps(reach)}
        token = make_token(engine, "terminator", **limits)
        found = configuration(closed, headers=bearer(token))
        assert [one["certFile"] for one in found["tls"]["certificates"]] == [wildcard["body"]]
    token = make_token(engine, "terminator", hostnames=json.dumps([WILD]))
    (served,) = may_serve(configuration(closed, headers=bearer(token)), WWW)
    assert is_placeholder(served)


@pytest.mark.parametrize(("limit", "most"), [("MOST_ACTIVE", 1), ("MOST_CHAIN_BYTES", 700)])
def test_too_many_certificates_for_one_configuration_are_refused(
    reporting: TestClient, owner: int, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(
        f"customer_certificates.services.terminators.traefik_selection.{limit}", most
    )
    add(reporting, owner, an_upload_of(a_leaf("Root", WWW)))
    configuration(reporting)
    add(reporting, owner, an_upload_of(a_leaf("Root", SHOP)))

    status, code, _ = refusal(reporting.simulate_get(TRAEFIK))
    assert (status, code) == (409, "conflict")
