"""Which certificate is served for a hostname, and why the others are not."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.models import PrivateKey

from ..applications import Clock
from ..credentials import bearer, make_token
from ..pki import authority
from ..pki.authority import a_leaf, an_authority
from . import an_upload_of, base64_of, der_of, key_der, refusal, self_signed, store

pytestmark = pytest.mark.one_backend

DAY = timedelta(days=1)
WWW = "www.example.com"
ROOT = an_authority("Root", "Root")


def add(client: TestClient, user_id: int, upload: dict[str, Any], **changes: Any) -> int:
    """Uploads it, active, and gives its id."""
    changes = {"active": True, **changes}
    return int(store(client, user_id, upload, **changes).rpartition("/")[2])


def public(hostname: str = WWW, **faults: Any) -> dict[str, Any]:
    """One that the public trusts."""
    return an_upload_of(a_leaf("Root", hostname, **faults))


def resolved(client: TestClient, hostname: str = WWW, **query: Any) -> dict[str, Any]:
    answer = client.simulate_get("/resolve", params={"hostname": hostname, **query})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    shown: dict[str, Any] = answer.json
    return shown


def selected(client: TestClient, hostname: str = WWW, **query: Any) -> list[int]:
    return [one["certificate_id"] for one in resolved(client, hostname, **query)["selected"]]


def reasons(client: TestClient, hostname: str = WWW, **query: Any) -> dict[int, tuple[str, Any]]:
    others = resolved(client, hostname, **query)["rejected"]
    return {one["certificate_id"]: (one["reason"], one["superseded_by"]) for one in others}


def test_the_winner_is_shown_with_all_that_names_it(
    reporting: TestClient, owner: int, clock: Clock
) -> None:
    certificate_id = add(reporting, owner, public())
    shown = reporting.simulate_get(f"/users/{owner}/certificates/{certificate_id}").json

    assert resolved(reporting) == {
        "hostname": WWW,
        "at": clock.now.isoformat().replace("+00:00", "Z"),
        "selected": [
            {
                "key_type": "ecdsa",
                "certificate_id": certificate_id,
                "user_id": owner,
                "version": 1,
                "matches": WWW,
                "trust": "public",
                "not_before": shown["not_before"],
                "not_after": shown["not_after"],
                "fingerprint_sha256": shown["fingerprint_sha256"],
            }
        ],
        "rejected": [],
        "note": None,
    }


def test_all_others_lost_for_a_reason(reporting: TestClient, owner: int) -> None:
    chosen = add(reporting, owner, public())
    lost = {
        add(reporting, owner, public(), active=False): ("inactive", None),
        add(reporting, owner, public("*.example.com")): ("less_exact", chosen),
        add(reporting, owner, self_signed(WWW, end=90 * DAY)): ("less_trusted", chosen),
        add(reporting, owner, public(end=5 * DAY)): ("ends_sooner", chosen),
        add(reporting, owner, public(start=-9 * DAY, end=-DAY)): ("expired", None),
        add(reporting, owner, public(start=DAY)): ("not_yet_valid", None),
    }
    assert (selected(reporting), reasons(reporting)) == ([chosen], lost)
    newer = add(reporting, owner, public())
    assert selected(reporting) == [newer]
    assert reasons(reporting)[chosen] == ("older", newer)


def test_each_reason_is_said_to_people(reporting: TestClient, owner: int) -> None:
    chosen = add(reporting, owner, public())
    add(reporting, owner, self_signed(WWW))
    add(reporting, owner, public(start=-9 * DAY, end=-DAY))

    assert {one["detail"] for one in resolved(reporting)["rejected"]} == {
        f"Certificate {chosen} has a higher trust level (public; this one: self_signed).",
        f"It expired on {authority.NOW - DAY:%Y-%m-%d}.",
    }


def test_time_alone_changes_the_winner(reporting: TestClient, owner: int, clock: Clock) -> None:
    wildcard = add(reporting, owner, public("*.example.com", end=50 * DAY))
    first = add(reporting, owner, public(end=5 * DAY))
    second = add(reporting, owner, public(start=4 * DAY, end=9 * DAY))

    seen = []
    for days in (0, 4, 6, 10):
        clock.now = authority.NOW + days * DAY
        seen.append(selected(reporting))
    assert seen == [[first], [second], [second], [wildcard]]


def test_what_cannot_be_served_is_never_the_winner(
    reporting: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    foreign_key = add(reporting, owner, public(), private_key=base64_of(key_der("another")))
    no_key = add(reporting, owner, public(), private_key=base64_of(b"garbage"))
    lost_key = add(reporting, owner, public())
    with engine.begin() as connection:
        connection.execute(sa.delete(PrivateKey).where(PrivateKey.certificate_id == lost_key))
    add(reporting, owner, public(), body="no certificate")

    assert selected(reporting) == []
    assert reasons(reporting) == dict.fromkeys([foreign_key, no_key, lost_key], ("no_key", None))


def test_each_key_type_has_its_winner(reporting: TestClient, owner: int) -> None:
    key = authority.rsa_key()
    leaf = a_leaf("Root", WWW, key=key)
    ecdsa = add(reporting, owner, public())
    rsa = add(reporting, owner, an_upload_of(leaf), private_key=base64_of(der_of(key)))

    assert selected(reporting) == [ecdsa, rsa]
    assert selected(reporting, key_type="rsa") == [rsa]
    assert reasons(reporting, key_type="rsa") == {ecdsa: ("other_key_type", None)}
    assert selected(reporting, key_type="ed25519") == []


@pytest.mark.parametrize("hostname", ["WWW.Example.COM", "www.example.com.", "ｗww.example.com"])
def test_a_name_may_be_written_in_many_ways(
    reporting: TestClient, owner: int, hostname: str
) -> None:
    certificate_id = add(reporting, owner, public())

    assert selected(reporting, hostname) == [certificate_id]
    assert resolved(reporting, hostname)["hostname"] == WWW


def test_a_name_of_nobodys_has_no_winner(reporting: TestClient, owner: int) -> None:
    add(reporting, owner, public())

    for hostname in ("example.com", "a.www.example.com", "192.0.2.1"):
        shown = resolved(reporting, hostname)
        assert (shown["selected"], shown["rejected"]) == ([], [])


@pytest.mark.parametrize("hostname", ["", ".", "a" * 300, "a b", "a.-example", "a\x00b", "\udcff"])
def test_what_is_no_hostname_is_refused(reporting: TestClient, hostname: str) -> None:
    for query in (
        f"hostname={hostname}".encode("utf-8", "surrogatepass"),
        b"hostname=a&hostname=b",
    ):
        escaped = "".join(chr(byte) if 32 < byte < 127 else f"%{byte:02x}" for byte in query)
        answer = reporting.simulate_get("/resolve", query_string=escaped)
        assert refusal(answer) == (422, "invalid", {"hostname": "invalid_parameter"})


def test_a_missing_hostname_is_missing(client: TestClient) -> None:
    answer = client.simulate_get("/resolve")

    assert refusal(answer) == (422, "invalid", {"hostname": "required"})
    assert answer.json["errors"][0]["detail"] == "hostname is missing."


def test_an_unknown_key_type_is_refused(reporting: TestClient) -> None:
    answer = reporting.simulate_get("/resolve", params={"hostname": WWW, "key_type": "dsa"})

    assert refusal(answer) == (422, "invalid", {"key_type": "invalid_parameter"})


def test_a_terminator_is_told_of_what_is_within_its_reach(
    reporting: TestClient, closed: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    long = {"end": 9000 * DAY}
    mine = add(reporting, owner, self_signed(WWW, **long), grant_hostnames=True)
    foreign = add(reporting, stranger, self_signed("*.example.com", **long), grant_hostnames=True)

    def seen(hostname: str, **reach: Any) -> list[int]:
        headers = bearer(make_token(engine, "terminator", **reach))
        answer = closed.simulate_get("/resolve", params={"hostname": hostname}, headers=headers)
        assert answer.status_code == 200, answer.text
        both = answer.json["selected"] + answer.json["rejected"]
        return sorted(one["certificate_id"] for one in both)

    assert seen(WWW) == [mine, foreign]
    assert seen(WWW, user_ids=f"[{stranger}]") == [foreign]
    assert seen(WWW, hostnames='["*.example.com"]') == [mine, foreign]
    assert seen(WWW, hostnames='["shop.example.com"]') == []
    assert seen("shop.example.com", hostnames='["shop.example.com"]') == [foreign]


def rsa(hostname: str = WWW, **faults: Any) -> dict[str, Any]:
    """A public one with an RSA key."""
    key = authority.rsa_key()
    return an_upload_of(
        a_leaf("Root", hostname, key=key, **faults), private_key=base64_of(der_of(key))
    )


@pytest.mark.parametrize("end", [90 * DAY, -DAY])
def test_the_owner_of_a_name_is_served_whatever_others_have_for_it(
    reporting: TestClient, owner: int, stranger: int, end: timedelta
) -> None:
    wildcard = add(reporting, stranger, public("*.example.com"), grant_hostnames=True)
    assert selected(reporting) == [wildcard]
    exact = add(reporting, owner, rsa(start=-9 * DAY, end=end), grant_hostnames=True)

    assert selected(reporting) == ([exact] if end > DAY else [])
    assert reasons(reporting)[wildcard] == ("other_owner", None)
    assert selected(reporting, key_type="ecdsa") == []
    assert selected(reporting, "shop.example.com") == [wildcard]
    reporting.simulate_patch(
        f"/users/{owner}/certificates/{exact}/active",
        json={"active": False, "allow_lost_hostnames": True},
    )
    assert selected(reporting) == [wildcard]


@pytest.mark.parametrize("theirs", [WWW, "*.example.com"])
def test_however_much_others_have_for_a_name_its_owner_is_served(
    reporting: TestClient, owner: int, stranger: int, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many certificates at most are looked at: those that decide come first."""
    monkeypatch.setattr("customer_certificates.services.certificates.candidates._MOST", 2)
    mine = add(reporting, owner, public(), active=False)
    for number in range(3):
        add(reporting, stranger, public(theirs, end=(90 + number) * DAY), grant_hostnames=True)

    answer = reporting.simulate_patch(
        f"/users/{owner}/certificates/{mine}/active", json={"active": True, "grant_hostnames": True}
    )

    assert answer.status_code == 202, answer.text
    assert selected(reporting) == [mine]
