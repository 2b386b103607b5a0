"""Operators find the certificates of all users."""

import itertools
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.models import Certificate, CertificateHostname

from ..applications import Clock
from ..credentials import bearer, make_token
from ..pki.authority import NOW, a_leaf, an_authority
from ..tables import add_certificates
from . import an_upload_of, refusal, self_signed, store

DAY = timedelta(days=1)
WWW = "www.example.com"


def add(client: TestClient, user_id: int, upload: dict[str, Any], **changes: Any) -> int:
    return int(store(client, user_id, upload, **changes).rpartition("/")[2])


def found(client: TestClient, **wanted: Any) -> list[int]:
    answer = client.simulate_get("/certificates", params=wanted, params_csv=False)
    assert answer.status_code == 200, answer.text
    return [shown["id"] for shown in answer.json]


def pages(client: TestClient, path: str, **wanted: Any) -> Iterator[list[int]]:
    """The ids of each page, as the Link header leads to them."""
    answer = client.simulate_get(path, params=wanted, params_csv=False)
    while True:
        assert answer.status_code == 200, answer.text
        yield [shown["id"] for shown in answer.json]
        if "Link" not in answer.headers:
            return
        (target,) = re.findall("<(.*)>", answer.headers["Link"])
        answer = client.simulate_get(target)


def detail(client: TestClient, user_id: int, certificate: int) -> dict[str, Any]:
    shown: dict[str, Any] = client.simulate_get(f"/users/{user_id}/certificates/{certificate}").json
    return shown


def test_a_row_has_what_the_certificate_of_its_user_shows(
    reporting: TestClient, owner: int
) -> None:
    reporting.simulate_patch(f"/users/{owner}", json={"external_id": "crm-1"})
    labels = {"env": "production"}
    certificate = add(reporting, owner, self_signed(WWW), labels=labels, active=True)

    answer = reporting.simulate_get("/certificates")

    (row,) = answer.json
    shown = detail(reporting, owner, certificate)
    assert row == {"external_id": "crm-1", **{name: shown[name] for name in row if name in shown}}
    assert (row["hostnames"], row["labels"], row["status"]) == ([WWW], labels, "active")
    assert not {"body", "chain", "chain_pem", "findings"} & row.keys()
    known = {"If-None-Match": answer.headers["ETag"]}
    assert reporting.simulate_get("/certificates", headers=known).status_code == 304


def test_certificates_of_all_users_are_found(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    reporting.simulate_patch(f"/users/{stranger}", json={"external_id": "crm-2"})
    ca = an_upload_of(a_leaf("Issuing"), an_authority("Issuing", "Root"))
    one = add(reporting, owner, self_signed(WWW, "shop.example.com"))
    two = add(reporting, stranger, self_signed("*.example.com"), labels={"env": "test", "a": "b"})
    three = add(reporting, stranger, ca, labels={"env": "test"})
    same = add(reporting, owner, ca)
    first = detail(reporting, owner, one)
    third = detail(reporting, stranger, three)
    serial = third["serial"]

    for wanted, expected in (
        ({}, [one, two, three, same]),
        ({"hostname": "WWW.Example.com."}, [one, two, three, same]),
        ({"hostname": "shop.example.com"}, [one, two]),
        ({"hostname": "other.example.com"}, [two]),
        ({"hostname": "not a name"}, []),
        ({"issuer": first["issuer"]}, [one]),
        ({"issuer": third["issuer"]}, [three, same]),
        ({"issuer": third["issuer"][:-1]}, []),
        ({"serial": serial}, [three, same]),
        ({"serial": f"00:0{serial}".upper()}, [three, same]),
        ({"serial": f"0x{serial}"}, [three, same]),
        ({"serial": "0"}, []),
        ({"fingerprint": third["fingerprint_sha256"].upper()}, [three, same]),
        ({"spki": ":".join(re.findall("..", first["spki_sha256"]))}, [one, three, same]),
        ({"trust": "public"}, [three, same]),
        ({"trust": "self_signed"}, [one, two]),
        ({"user": stranger}, [two, three]),
        ({"user": stranger + 1000}, []),
        ({"external_id": "crm-2"}, [two, three]),
        ({"external_id": "crm-3"}, []),
        ({"label": "env=test"}, [two, three]),
        ({"label": ["env=test", "a=b"]}, [two]),
        ({"label": ["env=test", "a=c"]}, []),
        ({"label": "env=test", "user": owner}, []),
        ({"label": "env=test", "expires_before": "2100-01-01T00:00:00Z"}, [two, three]),
        ({"fingerprint": third["fingerprint_sha256"], "user": owner}, [same]),
    ):
        assert (wanted, sorted(found(reporting, **wanted))) == (wanted, expected)


def test_certificates_are_found_by_dates_and_status(
    reporting: TestClient, clock: Clock, owner: int, stranger: int
) -> None:
    late = add(reporting, owner, self_signed(WWW, end=20 * DAY), active=True)
    soon = add(reporting, stranger, self_signed("soon.example", end=10 * DAY))
    past = add(reporting, owner, self_signed("past.example", end=-DAY), active=True)
    coming = add(reporting, owner, self_signed("new.example", start=2 * DAY, end=30 * DAY))
    unread = add(reporting, stranger, {"body": "PEM", "private_key": "QUJD"})
    middle, end = NOW + 10 * DAY, NOW + 20 * DAY

    for wanted, expected in (
        ({"expires_before": middle.isoformat()}, [past]),
        ({"expires_before": end.isoformat()}, [past, soon]),
        ({"expires_after": middle.isoformat()}, [soon, late, coming]),
        ({"expires_after": middle.isoformat(), "expires_before": end.isoformat()}, [soon]),
        ({"status": "active"}, [late]),
        ({"status": "inactive"}, [soon, unread]),
        ({"status": "expired"}, [past]),
        ({"status": "not_yet_valid"}, [coming]),
        ({"status": "active", "expires_after": "2000-01-01T00:00:00Z"}, [late]),
        ({"status": "expired", "expires_after": "2000-01-01T00:00:00Z"}, [past]),
        ({"status": "not_yet_valid", "expires_after": middle.isoformat()}, [coming]),
        ({"status": "not_yet_valid", "expires_before": middle.isoformat()}, []),
        ({"servable": "true"}, [late, soon]),
        ({"servable": "false"}, [past, coming, unread]),
        ({"servable": "false", "status": "inactive"}, [unread]),
        ({"servable": "false", "status": "active"}, []),
    ):
        assert (wanted, found(reporting, **wanted)) == (wanted, expected)
    clock.now += 3 * DAY
    assert found(reporting, status="not_yet_valid") == []
    assert found(reporting, status="inactive") == [soon, coming, unread]


def test_a_renewal_is_found_before_it_is_valid(reporting: TestClient, owner: int) -> None:
    """Its row is older than its `not_before`, and newer."""
    path = store(reporting, owner, self_signed(WWW, end=5 * DAY))
    certificate = int(path.rpartition("/")[2])
    assert found(reporting, status="not_yet_valid") == []

    coming = self_signed(WWW, start=DAY, end=30 * DAY)
    replaced = reporting.simulate_put(path, json={**coming, "activate_at": None})

    shown = replaced.json["status"]
    assert found(reporting, status=shown) == [certificate]


# Values of which some certificates have each, and others have not.
FLEET: dict[str, list[Any]] = {
    "trust": ["public", "private", "unreadable"],
    "active": [True, False],
    "not_servable": [None, "no_key"],
    "dates": [(-40, 20), (-40, -1), (5, 60), (None, None)],
    "serve": [0, -45],
}
CONDITIONS: dict[str, list[Any]] = {
    "status": [None, "active", "inactive", "expired", "not_yet_valid"],
    "servable": [None, "true", "false"],
    "trust": [None, "public", "private", "unreadable"],
    "issuer": [None, "CN=Some CA"],
    "label": [None, "env=test"],
    "expires_before": [None, (NOW + 30 * DAY).isoformat()],
    "hostname": [None, WWW],
}


def fill(engine: sa.Engine, user_id: int) -> None:
    """Adds a certificate for each combination of the values of FLEET."""
    for number, (trust, active, reason, (begin, end), serve) in enumerate(
        itertools.product(*FLEET.values())
    ):
        # Only an unreadable certificate has no dates.
        if (end is None) != (trust == "unreadable"):
            continue
        dates = [None if days is None else NOW + days * DAY for days in (begin, end)]
        served = None if end is None else NOW + (end + serve) * DAY
        (made,) = add_certificates(
            engine,
            user_id,
            1,
            trust=trust,
            active=active,
            not_servable=reason,
            not_before=dates[0],
            not_after=dates[1],
            serve_not_before=dates[0],
            serve_not_after=served,
            created_at=NOW - DAY,
            issuer="CN=Some CA" if number % 2 and end is not None else None,
            labels=json.dumps({"env": "test"} if number % 3 else {}),
        )
        if number % 5:
            with engine.begin() as connection:
                name = {"user_id": user_id, "hostname": WWW, "certificate_id": made}
                connection.execute(sa.insert(CertificateHostname), name)


def test_each_pair_of_conditions_finds_what_the_rows_show(
    reporting: TestClient, engine: sa.Engine, owner: int
) -> None:
    fill(engine, owner)
    everything = reporting.simulate_get("/certificates", params={"limit": 1000}).json
    with engine.connect() as connection:
        named = {*connection.execute(sa.select(CertificateHostname.certificate_id)).scalars()}

    def matches(row: dict[str, Any], name: str, value: str) -> bool:
        if name == "label":
            return bool(row["labels"])
        if name == "servable":
            return bool(row["servable"]) == (value == "true")
        if name == "hostname":
            return row["id"] in named
        if name == "expires_before":
            end = row["not_after"]
            return end is not None and datetime.fromisoformat(end) < datetime.fromisoformat(value)
        return bool(row[name] == value)

    for (one, values), (two, others) in itertools.combinations(CONDITIONS.items(), 2):
        for pair in itertools.product(values, others):
            wanted = {name: value for name, value in zip((one, two), pair, strict=True) if value}
            expected = [
                row["id"]
                for row in everything
                if all(matches(row, name, value) for name, value in wanted.items())
            ]
            assert (wanted, sorted(found(reporting, **wanted, limit=1000))) == (wanted, expected)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"status": "expired"},
        {"status": "not_yet_valid"},
        {"expires_after": "2026-01-01T00:00:00Z"},
        {"label": "env=test"},
        {"trust": "private"},
    ],
    ids=str,
)
def test_pages_continue_after_a_certificate_that_was_deleted(
    reporting: TestClient, engine: sa.Engine, owner: int, wanted: dict[str, str]
) -> None:
    fill(engine, owner)
    complete = found(reporting, **wanted, limit=1000)
    assert len(complete) > 3

    seen = []
    for page in pages(reporting, "/certificates", **wanted, limit=2):
        seen += page
        with engine.begin() as connection:
            connection.execute(sa.delete(Certificate).where(Certificate.id == page[-1]))

    assert seen == complete


@pytest.mark.one_backend
@pytest.mark.parametrize("path", ["/certificates", "/expiring"])
def test_a_page_with_many_hostnames_ends_early(
    client: TestClient, engine: sa.Engine, owner: int, path: str
) -> None:
    """All certificates come, on more pages."""
    names = json.dumps([f"{number}.example.com" for number in range(150_000)])
    made = add_certificates(engine, owner, 4, not_after=datetime.now(UTC), hostnames=names)

    assert [*pages(client, path)] == [made[:2], made[2:]]


@pytest.mark.parametrize("path", ["/expiring", "/users/{}/expiring"])
def test_expiring_certificates_are_listed_in_pages(
    client: TestClient, engine: sa.Engine, owner: int, stranger: int, path: str
) -> None:
    """Also after the last one of a page was deleted."""
    path, now, expected = path.format(owner), datetime.now(UTC), {}
    for user, days in itertools.product((owner, stranger), (9, 3, 3, 7, -1, 40)):
        (made,) = add_certificates(engine, user, 1, not_after=now + days * DAY, hostnames="[]")
        if days < 30 and (user == owner or path == "/expiring"):
            expected[made] = days
    add_certificates(engine, owner, 1, active=False, not_after=now + DAY, hostnames="[]")
    in_order = sorted(expected, key=lambda made: (expected[made], made))

    if path == "/expiring":
        users = [(row["id"], row["user_id"]) for row in client.simulate_get(path).json]
        assert [user for made, user in sorted(users)] == [owner] * 5 + [stranger] * 5
    seen = []
    for page in pages(client, path, limit=2):
        seen += page
        with engine.begin() as connection:
            connection.execute(sa.delete(Certificate).where(Certificate.id == page[-1]))

    # Certificates of the same day have different times.
    assert [expected[made] for made in seen] == [expected[made] for made in in_order]
    assert sorted(seen) == sorted(expected)


def test_only_certificates_of_the_same_user_cover_an_expiring_one(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    soon = add(reporting, owner, self_signed(WWW, end=10 * DAY), active=True)
    other = add(reporting, stranger, self_signed("a.example", end=10 * DAY), active=True)
    add(reporting, owner, self_signed(WWW, end=60 * DAY), active=True)

    shown = reporting.simulate_get("/expiring", params={"within": "30d"}).json

    assert {row["id"]: (row["user_id"], row["covered"]) for row in shown} == {
        soon: (owner, True),
        other: (stranger, False),
    }
    of_user = reporting.simulate_get(f"/users/{owner}/expiring").json
    assert [{**row, "user_id": owner} for row in of_user] == [shown[0]]


def test_expiring_certificates_are_filtered_by_replacement(
    client: TestClient, engine: sa.Engine, owner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page covers few certificates, so some pages are empty."""
    monkeypatch.setattr("customer_certificates.services.fleet.expiring._WALK", 3)
    now = datetime.now(UTC)
    shown: dict[str, list[int]] = {"true": [], "false": []}
    for day in range(1, 12):
        covered = "false" if day in (1, 8, 9, 10) else "true"
        activate_at = now if covered == "true" else None
        dates = {"not_after": now + day * DAY, "activate_at": activate_at}
        shown[covered] += add_certificates(engine, owner, 1, hostnames="[]", **dates)

    for covered, expected in shown.items():
        found = [*pages(client, "/expiring", covered=covered, limit=2)]
        assert [one for page in found for one in page] == expected
        assert max(map(len, found)) == 2
    assert [] in [*pages(client, "/expiring", covered="false", limit=2)]
    assert refusal(client.simulate_get("/expiring?covered=no"))[0] == 422


def test_only_operators_search_all_users(closed: TestClient, engine: sa.Engine, owner: int) -> None:
    (certificate,) = add_certificates(engine, owner, 1, not_after=datetime.now(UTC), hostnames="[]")

    for path in ("/certificates", "/expiring"):
        for kind, status in (("user", 403), ("terminator", 403), ("operator", 200)):
            user = owner if kind == "user" else None
            headers = bearer(make_token(engine, kind, user))
            answer = closed.simulate_get(path, headers=headers)
            assert (path, kind, answer.status_code) == (path, kind, status)
        assert [row["id"] for row in answer.json] == [certificate]
        assert closed.simulate_get(path).status_code == 401


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("serial", "xyz"),
        ("serial", "12::34"),
        ("serial", "1" * 161),
        ("serial", "١"),
        ("spki", "5d"),
        ("fingerprint", "5d" * 31),
        ("issuer", "x" * 501),
        ("issuer", ""),
        ("expires_after", "tomorrow"),
        ("servable", "yes"),
        ("user", "0"),
        ("external_id", ""),
        ("label", "env"),
        ("after", "1"),
        ("after", "x_1"),
        ("after", "1_١"),
        ("status", "revoked"),
    ],
)
def test_a_wrong_value_is_told(client: TestClient, name: str, value: str) -> None:
    answer = client.simulate_get("/certificates", params={name: value})

    assert refusal(answer) == (422, "invalid", {name: "invalid_parameter"})


@pytest.mark.parametrize(("issuer", "serial"), [("é" * 4000, "a" * 4000), ("é" * 500, "a" * 160)])
def test_long_names_can_be_stored(
    client: TestClient, engine: sa.Engine, owner: int, issuer: str, serial: str
) -> None:
    """An index of PostgreSQL takes at most 2,700 bytes."""
    now = datetime.now(UTC)
    (made,) = add_certificates(
        engine, owner, 1, issuer=issuer, serial=serial, not_after=now, hostnames="[]"
    )

    short = len(serial) == 160
    assert found(client) == [made]
    assert found(client, serial=serial[:160]) == [made] * short
    assert found(client, issuer=issuer[:500]) == [made] * short
