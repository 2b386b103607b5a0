"""Certificates are found by what they are for, until when, whom they lead to and what they are."""

import re
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from falcon.testing import TestClient

from ..applications import Clock
from ..pki.authority import a_leaf, an_authority, issue
from . import an_upload_of, refusal, self_signed, store

DAY = timedelta(days=1)
WWW = "www.example.com"


def found(client: TestClient, user_id: int, **wanted: Any) -> list[int]:
    answer = client.simulate_get(f"/users/{user_id}/certificates", params=wanted)
    assert answer.status_code == 200, answer.text
    return [shown["id"] for shown in answer.json]


def add(client: TestClient, user_id: int, upload: dict[str, Any], **changes: Any) -> int:
    return int(store(client, user_id, upload, **changes).rpartition("/")[2])


def named(*hostnames: str | x509.GeneralName) -> dict[str, Any]:
    """An upload of a certificate with exactly these names."""
    return an_upload_of(issue("Named", "Named", hostnames=hostnames))


def test_a_certificate_is_found_by_a_name_that_it_is_for(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    www = add(reporting, owner, self_signed(WWW, "shop.example.com"))
    wildcard = add(reporting, owner, self_signed("*.example.com"))
    both = add(reporting, owner, self_signed(WWW, "*.example.com"))
    for hostname in ("example.com", "*.www.example.com", "a.www.example.com", "www.example.org"):
        add(reporting, owner, self_signed(hostname))
    add(reporting, stranger, self_signed(WWW))

    assert found(reporting, owner, hostname=WWW) == [www, wildcard, both]
    assert found(reporting, owner, hostname="shop.example.com") == [www, wildcard, both]
    assert found(reporting, owner, hostname="other.example.com") == [wildcard, both]
    assert found(reporting, owner, hostname="*.example.com") == [wildcard, both]
    assert found(reporting, owner, hostname="com") == []


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("sought", "name"),
    [
        ("WWW.Example.COM", WWW),
        ("www.example.com.", WWW),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("xn--MNCHEN-3ya.example", "xn--mnchen-3ya.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("a.münchen.example", "*.xn--mnchen-3ya.example"),
        ("192.0.2.7", x509.IPAddress(ip_address("192.0.2.7"))),
        ("[2001:db8::1]", x509.IPAddress(ip_address("2001:db8::1"))),
        ("2001:0DB8::0:1", x509.IPAddress(ip_address("2001:db8::1"))),
    ],
)
def test_a_name_is_found_however_it_is_written(
    reporting: TestClient, owner: int, sought: str, name: str | x509.GeneralName
) -> None:
    certificate = add(reporting, owner, named(name))
    add(reporting, owner, named("other.example"))

    assert found(reporting, owner, hostname=sought) == [certificate]


@pytest.mark.one_backend
@pytest.mark.parametrize("sought", ["a b", "'; --", "*", "*.*", "%", "_", "é" * 200, ".", "\n"])
def test_what_is_no_name_finds_nothing(reporting: TestClient, owner: int, sought: str) -> None:
    add(reporting, owner, self_signed(WWW))

    assert found(reporting, owner, hostname=sought) == []


def test_a_certificate_is_found_by_the_names_that_it_has_now(
    reporting: TestClient, owner: int
) -> None:
    path = store(reporting, owner, self_signed(WWW))
    certificate = int(path.rpartition("/")[2])
    reporting.simulate_put(path, json=self_signed(WWW, "new.example.com"))
    assert found(reporting, owner, hostname="new.example.com") == [certificate]

    allowed = {"version": 1, "allow_lost_hostnames": True}
    reporting.simulate_post(f"{path}/rollback", json=allowed)
    assert found(reporting, owner, hostname="new.example.com") == []
    reporting.simulate_delete(path)
    assert found(reporting, owner, hostname=WWW) == []


def test_certificates_are_found_that_end_before_a_time(reporting: TestClient, owner: int) -> None:
    """Those that have ended too, and none of which it is not known when."""
    late, soon, past = (
        add(reporting, owner, self_signed(WWW, end=end)) for end in (20 * DAY, 10 * DAY, -DAY)
    )
    add(reporting, owner, {"body": "PEM", "private_key": "QUJD"})

    for time, expected in {
        "2026-06-11T12:00:00Z": [past],
        "2026-06-11T12:00:01Z": [soon, past],
        "2026-06-11T12:00:00.000001Z": [soon, past],
        # The same instants, elsewhere.
        "2026-06-11T14:00:00+02:00": [past],
        "2026-06-11T02:00:01-10:00": [soon, past],
        "2026-06-11t12:00:01z": [soon, past],
        "9999-12-31T23:59:59Z": [late, soon, past],
        "0001-01-01T00:00:00Z": [],
    }.items():
        assert (time, found(reporting, owner, expires_before=time)) == (time, expected)


def test_certificates_are_found_by_status(reporting: TestClient, clock: Clock, owner: int) -> None:
    active = add(reporting, owner, self_signed(WWW), active=True)
    inactive = add(reporting, owner, self_signed(WWW))
    expired = add(reporting, owner, self_signed(WWW, end=-DAY), active=True)
    coming = add(reporting, owner, self_signed(WWW, start=DAY, end=30 * DAY))
    unread = add(reporting, owner, {"body": "PEM", "private_key": "QUJD"}, active=True)
    expected = {
        "active": [active, unread],
        "inactive": [inactive],
        "expired": [expired],
        "not_yet_valid": [coming],
    }

    assert {status: found(reporting, owner, status=status) for status in expected} == expected
    clock.now += 2 * DAY
    assert found(reporting, owner, status="not_yet_valid") == []
    assert found(reporting, owner, status="inactive") == [inactive, coming]


def test_a_certificate_is_found_by_its_fingerprint(reporting: TestClient, owner: int) -> None:
    path = store(reporting, owner, self_signed(WWW))
    add(reporting, owner, self_signed(WWW))
    digits = reporting.simulate_get(path).json["fingerprint_sha256"]
    colons = ":".join(re.findall("..", digits))

    for written in (digits, digits.upper(), colons, colons.upper()):
        assert found(reporting, owner, fingerprint=written) == [int(path.rpartition("/")[2])]
    assert found(reporting, owner, fingerprint="0" * 64) == []


def test_certificates_are_found_by_trust(reporting: TestClient, owner: int) -> None:
    private = an_authority("Private root", "Private root")
    added = {
        "public": an_upload_of(a_leaf("Issuing"), an_authority("Issuing", "Root")),
        "private": an_upload_of(a_leaf("Private root"), private),
        "self_signed": self_signed(WWW),
        "incomplete": an_upload_of(a_leaf("Nobody")),
        "unreadable": {"body": "PEM", "private_key": "QUJD"},
    }
    expected = {trust: [add(reporting, owner, upload)] for trust, upload in added.items()}

    assert {trust: found(reporting, owner, trust=trust) for trust in expected} == expected


def test_conditions_hold_together_and_on_every_page(reporting: TestClient, owner: int) -> None:
    wanted = []
    for number in range(5):
        wanted.append(add(reporting, owner, self_signed(WWW, end=DAY), active=True))
        add(reporting, owner, self_signed(WWW, end=DAY))
        add(reporting, owner, self_signed(WWW, end=50 * DAY), active=True)
        add(reporting, owner, self_signed(f"{number}.example.com", end=DAY), active=True)
    conditions = {
        "hostname": "WWW.example.com",
        "expires_before": "2026-06-05T00:00:00+02:00",
        "active": "true",
        "status": "active",
        "trust": "self_signed",
    }
    path = f"/users/{owner}/certificates"
    answer = reporting.simulate_get(path, params={**conditions, "limit": 2})
    pages = [[shown["id"] for shown in answer.json]]
    while link := answer.headers.get("Link"):
        (target,) = re.findall("<(.*)>", link)
        answer = reporting.simulate_get(target)
        pages.append([shown["id"] for shown in answer.json])

    assert pages == [wanted[:2], wanted[2:4], wanted[4:]]
    assert found(reporting, owner, **conditions, after=wanted[3]) == wanted[4:]
    assert found(reporting, owner, **{**conditions, "active": "false"}) == []


def test_answers_to_different_questions_are_not_taken_for_one_another(
    reporting: TestClient, owner: int
) -> None:
    """All come from one cache; each is asked twice."""
    first = add(reporting, owner, self_signed(WWW), active=True)
    second = add(reporting, owner, self_signed("None", end=10 * DAY))
    questions: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [first, second]),
        ({"hostname": WWW}, [first]),
        ({"hostname": "None"}, [second]),
        ({"expires_before": "2026-06-20T00:00:00Z"}, [second]),
        ({"status": "active"}, [first]),
        ({"active": "true"}, [first]),
        ({"trust": "public"}, []),
        ({"hostname": "None:None"}, []),
        ({"hostname": "None", "active": "true"}, []),
    ]
    for wanted, expected in questions * 2:
        assert (wanted, found(reporting, owner, **wanted)) == (wanted, expected)


WRONG = {
    "hostname": ["", "a\x00", "x" * 254],
    "expires_before": [
        "",
        "tomorrow",
        "2026-06-11",
        "2026-06-11T12:00:00",
        "2026-13-11T12:00:00Z",
        "1781179200",
        # Instants that UTC has no date for.
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
    "status": ["", "Active", "revoked", "active,expired"],
    "fingerprint": [
        "",
        "0",
        "g" * 64,
        "0" * 63,
        "0" * 65,
        "0" * 64 + "\n",
        ":" + "0" * 64,
        "0" * 40,
    ],
    "trust": ["", "Public", "none"],
}


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_told(reporting: TestClient, owner: int, name: str, value: str) -> None:
    answer = reporting.simulate_get(f"/users/{owner}/certificates", params={name: value})

    assert refusal(answer) == (422, "invalid", {name: "invalid_parameter"})


def test_all_that_is_wrong_is_told_at_once(reporting: TestClient, owner: int) -> None:
    wrong = {name: values[-1] for name, values in WRONG.items()} | {"active": "x", "limit": "0"}
    answer = reporting.simulate_get(f"/users/{owner}/certificates", params=wrong)

    assert refusal(answer) == (422, "invalid", dict.fromkeys(wrong, "invalid_parameter"))
