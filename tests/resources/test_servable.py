"""Servers get no certificate that they cannot serve, and users see the reason."""

import json
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from falcon.testing import TestClient

from ..applications import Clock
from ..corpus.case import CASES, read
from ..pki.authority import a_leaf, an_authority
from . import an_upload_of, base64_of, codes, der_of, pem, refusal, self_signed, store
from .test_resolver import DAY, WWW, public, resolved, selected
from .test_terminators import CADDY, TRAEFIK

pytestmark = pytest.mark.one_backend

ORIGINAL = {"body": "test body", "private_key": base64_of(b"test key")}


def unloadable() -> dict[str, dict[str, Any]]:
    """Uploads for www.example.com that servers cannot load or serve, by kind."""
    small = rsa.generate_private_key(65537, 1024)
    curves = {"secp256k1": ec.SECP256K1(), "p224": ec.SECP224R1()}
    made: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = {
        name: ec.generate_private_key(curve) for name, curve in curves.items()
    }
    made["rsa-1024"] = small
    uploads = {
        name: {"body": pem(a_leaf("Root", key=key)), "private_key": base64_of(der_of(key))}
        for name, key in made.items()
    }
    for name in ("pkcs1", "pkcs8", "der"):
        case = read(CASES / f"key-of-rsa-pss-{name}.json")
        key = base64_of(case.material.private_key)
        uploads[f"rsa-pss-{name}"] = {"body": case.material.body, "private_key": key}
    weak = an_authority("Weak", "Root", key=small)
    chain = [a_leaf("Weak", signer=small), weak]
    uploads["rsa-1024-intermediate"] = an_upload_of(*chain)
    return uploads


UNLOADABLE = unloadable()


def of(client: TestClient, path: str) -> dict[str, Any]:
    """Whether a certificate is shown as servable, alone and in the list, which must agree."""
    shown = client.simulate_get(path).json
    listed = client.simulate_get(path.rpartition("/")[0]).json
    names = ("active", "servable", "not_servable_reason")
    (same,) = (one for one in listed if one["id"] == shown["id"])
    assert {name: same[name] for name in names} == {name: shown[name] for name in names}
    return {name: shown[name] for name in names}


def served(client: TestClient) -> tuple[list[str], int, int]:
    """The certificates in the feed and for Traefik, and Caddy's status for www.example.com."""
    feed = client.simulate_get("/terminators/feed").json["changes"]
    pairs = client.simulate_get(TRAEFIK).json["tls"]["certificates"]
    caddy = client.simulate_get(CADDY, params={"server_name": WWW})
    sent = [one["fingerprint_sha256"] for one in feed if one["active"]]
    return sent, len(pairs), caddy.status_code


@pytest.mark.parametrize("kind", UNLOADABLE)
def test_what_servers_cannot_load_is_stored_and_given_to_none(
    reporting: TestClient, enforcing: TestClient, owner: int, kind: str
) -> None:
    upload = UNLOADABLE[kind]
    path = store(reporting, owner, upload, active=True)
    shown = reporting.simulate_get(path).json

    assert "not_servable" in codes(shown["findings"])
    assert of(reporting, path) == {
        "active": True,
        "servable": False,
        "not_servable_reason": "not_loadable",
    }
    assert served(reporting) == ([], 0, 204)
    (other,) = resolved(reporting)["rejected"]
    assert (other["reason"], other["servable"]) == ("not_loadable", False)
    refused = enforcing.simulate_post(f"/users/{owner}/certificates", json=upload)
    assert (refused.status_code, "not_servable" in codes(refused.json["errors"])) == (422, True)


@pytest.mark.parametrize("kind", UNLOADABLE)
def test_another_certificate_is_served_beside_it(
    reporting: TestClient, owner: int, kind: str
) -> None:
    store(reporting, owner, UNLOADABLE[kind], active=True)
    good = self_signed(WWW)
    path = store(reporting, owner, good, active=True)
    shown = reporting.simulate_get(path).json

    assert served(reporting) == ([shown["fingerprint_sha256"]], 1, 200)
    assert selected(reporting) == [shown["id"]]


@pytest.mark.parametrize(
    ("upload", "reason"),
    [
        (ORIGINAL, "unreadable"),
        ({"body": "", **self_signed(WWW), "private_key": base64_of(b"no key")}, "no_key"),
        ({**self_signed(WWW), "private_key": self_signed("other.org")["private_key"]}, "no_key"),
    ],
)
def test_anything_may_be_stored_and_activated_as_the_first_version_did(
    apps: Any, owner: int, upload: dict[str, Any], reason: str
) -> None:
    answer = apps.reporting.simulate_post(
        f"/users/{owner}/certificates", json={**upload, "active": True}
    )

    assert (answer.status_code, answer.json["active"]) == (201, True)
    assert (answer.json["servable"], answer.json["not_servable_reason"]) == (False, reason)
    assert served(apps.reporting) == ([], 0, 204)


@pytest.mark.parametrize("upload", [ORIGINAL, *UNLOADABLE.values()], ids=["original", *UNLOADABLE])
def test_where_uploads_are_enforced_it_cannot_be_activated(
    apps: Any, owner: int, upload: dict[str, Any]
) -> None:
    path = store(apps.reporting, owner, upload)
    answer = apps.enforcing.simulate_patch(f"{path}/active", json={"active": True})

    assert refusal(answer) == (409, "conflict", {"active": "not_servable"})
    assert of(apps.enforcing, path)["active"] is False
    answer = apps.reporting.simulate_patch(f"{path}/active", json={"active": True})
    assert answer.status_code == 202


def chain_of(**dates: timedelta) -> dict[str, Any]:
    """An upload whose intermediate has these dates."""
    return an_upload_of(a_leaf("Issuing"), an_authority("Issuing", "Root", **dates))


@pytest.mark.parametrize(
    ("dates", "reason"),
    [
        ({"end": timedelta(days=-1)}, "chain_expired"),
        ({"start": timedelta(days=-300), "end": timedelta(seconds=-1)}, "chain_expired"),
        ({"start": timedelta(days=1)}, "chain_not_yet_valid"),
        ({"start": timedelta(seconds=1)}, "chain_not_yet_valid"),
    ],
)
def test_an_intermediate_that_is_not_valid_wins_against_nobody(
    reporting: TestClient, owner: int, dates: dict[str, timedelta], reason: str
) -> None:
    working = store(reporting, owner, self_signed(WWW), active=True)
    path = store(reporting, owner, chain_of(**dates), active=True)

    assert of(reporting, path)["not_servable_reason"] == reason
    assert selected(reporting) == [int(working.rpartition("/")[2])]


def test_it_is_served_for_as_long_as_its_chain_is_valid(
    reporting: TestClient, owner: int, clock: Clock
) -> None:
    """Lists and decisions go with the time, and so does what agents are told."""
    path = store(reporting, owner, chain_of(start=DAY, end=3 * DAY), active=True)
    (entry,) = reporting.simulate_get("/terminators/feed").json["changes"]
    issued = clock.now

    def seen() -> tuple[Any, bool]:
        return of(reporting, path)["not_servable_reason"], bool(selected(reporting))

    assert seen() == ("chain_not_yet_valid", False)
    clock.now = issued + DAY
    assert seen() == (None, True)
    clock.now = issued + 3 * DAY
    assert seen() == (None, True)
    clock.now += timedelta(seconds=1)
    assert seen() == ("chain_expired", False)
    assert entry["not_before"] == (issued + DAY).isoformat().replace("+00:00", "Z")
    assert entry["not_after"] == (issued + 3 * DAY).isoformat().replace("+00:00", "Z")
    (entry,) = reporting.simulate_get("/terminators/feed").json["changes"]
    assert not entry["active"]


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "127.0.0.1"])
def test_caddy_is_given_what_is_for_the_address_it_was_reached_at(
    reporting: TestClient, owner: int, address: str
) -> None:
    """Clients send no name where they connect to an address (RFC 6066, 3)."""
    names = [x509.IPAddress(ip_address(address))]
    store(reporting, owner, public(hostnames=names), active=True)

    def asked(**query: str) -> int:
        return reporting.simulate_get(CADDY, params=query).status_code

    assert asked(server_name="", local_ip=address) == 200
    assert asked(local_ip=f"{address}%eth0") == 200
    assert asked(server_name="other.example.com", local_ip=address) == 204
    assert asked(server_name=address) == 204
    assert asked(local_ip="192.0.2.8") == 204
    assert asked(local_ip="www.example.com") == 204
    assert "HAProxy" in resolved(reporting, address)["note"]


def test_what_was_found_is_plain(reporting: TestClient, owner: int) -> None:
    answer = reporting.simulate_post(
        f"/users/{owner}/certificates/check", json=UNLOADABLE["rsa-1024"]
    )
    (found,) = (one for one in answer.json["findings"] if one["code"] == "not_servable")

    assert found["detail"] == "TLS servers cannot load it: its key is too small."
    assert (found["severity"], answer.json["servable"]) == ("error", False)
    assert "openssl genpkey" in json.dumps(found["hint"])
