"""Reports of the certificates of all users, which operators alone get."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.gateways.database import EVERYBODY, Database
from customer_certificates.models import SummaryChange, SummaryDates, SummaryValue
from customer_certificates.services.fleet.summary_counters import SummaryCounters

from ..applications import Clock
from ..conftest import Backend
from ..credentials import bearer, make_token
from ..pki import authority
from ..tables import add_certificates, add_users
from . import an_upload_of, refusal, self_signed, store
from .test_feed import id_of
from .test_serving import item, report

DAY = timedelta(days=1)
REVOKED = "CN=Revoked CA"


def test_the_summary_counts_the_certificates_of_all_users(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    store(reporting, owner, self_signed("a.example", end=8 * DAY), active=True)
    store(reporting, stranger, self_signed("b.example"))

    answer = reporting.simulate_get("/summary")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    view = answer.json
    assert view["as_of"] == authority.NOW.isoformat().replace("+00:00", "Z")
    assert view["certificates"] == 2
    assert view["status"] == {"active": 1, "inactive": 1, "expired": 0, "not_yet_valid": 0}
    assert view["trust"]["self_signed"] == 2
    assert view["key_algorithms"] == [{"key_algorithm": "ECDSA-P-256", "certificates": 2}]
    assert {issuer["certificates"] for issuer in view["issuers"]} == {1}
    assert view["expiries"][0]["date"] == authority.NOW.date().isoformat()


@pytest.mark.one_backend
@pytest.mark.parametrize("path", ["/summary", "/incidents?serials=1"])
def test_a_report_requires_an_operator_token(
    closed: TestClient, engine: sa.Engine, path: str
) -> None:
    (user,) = add_users(engine, 1)
    of_user = bearer(make_token(engine, user_id=user))
    of_terminator = bearer(make_token(engine, "terminator"))
    of_operator = bearer(make_token(engine, "operator"))

    assert refusal(closed.simulate_get(path, headers=of_user))[:2] == (403, "forbidden")
    assert refusal(closed.simulate_get(path, headers=of_terminator))[:2] == (403, "forbidden")
    assert closed.simulate_get(path, headers=of_operator).status_code == 200


def test_a_tenant_adds_to_the_summary_and_cannot_read_it(
    client: TestClient, database: Database, backend: Backend, owner: int
) -> None:
    store(client, owner, self_signed("a.example"))
    tables = [SummaryChange, SummaryValue, SummaryDates]

    def numbers(tenant: Any) -> list[int]:
        with database.begin(tenant) as session:
            return [len(session.execute(sa.select(table)).all()) for table in tables]

    assert numbers(EVERYBODY)[0] == 1
    SummaryCounters(database, lambda: authority.NOW).fold()
    store(client, owner, self_signed("b.example"))
    assert all(numbers(EVERYBODY))
    if backend.name == "postgresql":
        assert not any(numbers(owner))


def leaf(hostname: str, by: str = "Revoked CA", days: int = 90, **changes: Any) -> dict[str, Any]:
    """An upload of a certificate of a CA."""
    return an_upload_of(authority.a_leaf(by, hostname, end=days * DAY), **changes)


def drill(client: TestClient, **criteria: str) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The numbers of an incident, and its certificates."""
    answer = client.simulate_get("/incidents", params=criteria or {"issuer": REVOKED})
    assert answer.status_code == 200, answer.text
    return answer.json["counts"], answer.json["certificates"]


def numbers(counts: dict[str, int]) -> list[int]:
    """The numbers in the order of the drill."""
    names = ("affected", "active", "notified", "replaced", "verified_served", "still_served")
    return [counts[name] for name in names]


def test_a_replacement_is_followed_until_a_probe_receives_it(
    reporting: TestClient, owner: int, stranger: int, clock: Clock
) -> None:
    path = store(reporting, owner, leaf("a.example"), active=True)
    store(reporting, stranger, leaf("b.example", by="Other CA"), active=True)
    report(reporting, served=[item(reporting, path)])
    serial = reporting.simulate_get(path).json["serial"]
    clock.now += 6 * DAY

    counts, (certificate,) = drill(reporting)
    assert numbers(counts) == [1, 1, 0, 0, 0, 1]
    assert (certificate["id"], certificate["user_id"]) == (id_of(path), owner)
    assert (certificate["serial"], certificate["hostnames"]) == (serial, ["a.example"])

    reporting.simulate_put(path, json=leaf("a.example", by="Other CA", days=30))
    counts, (certificate,) = drill(reporting)
    assert numbers(counts) == [1, 0, 1, 1, 0, 1]
    assert (certificate["version"], certificate["affected_version"]) == (2, 1)
    assert certificate["serial"] == serial
    assert certificate["not_after"] == (authority.NOW + 90 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")

    report(reporting, served=[item(reporting, path)])
    assert numbers(drill(reporting)[0]) == [1, 0, 1, 1, 0, 0]
    report(reporting, served=[item(reporting, path, verified=True)])
    assert numbers(drill(reporting)[0]) == [1, 0, 1, 1, 1, 0]

    answer = reporting.simulate_post(
        f"{path}/rollback", json={"version": 1, "allow_lost_hostnames": True}
    )
    assert answer.status_code == 200
    assert numbers(drill(reporting)[0]) == [1, 1, 1, 0, 0, 0]


def test_another_certificate_may_be_the_replacement(reporting: TestClient, owner: int) -> None:
    path = store(reporting, owner, leaf("a.example"), active=True)
    other = store(reporting, owner, leaf("a.example", by="Other CA"), active=True)
    assert numbers(drill(reporting)[0])[3:] == [0, 0, 0]

    reporting.simulate_patch(f"{path}/active", json={"active": False})
    assert numbers(drill(reporting)[0])[3:] == [1, 0, 0]
    report(reporting, served=[item(reporting, other, verified=True)])
    assert numbers(drill(reporting)[0])[3:] == [1, 1, 0]


def test_a_certificate_of_the_same_ca_is_no_replacement(reporting: TestClient, owner: int) -> None:
    path = store(reporting, owner, leaf("a.example"), active=True)
    store(reporting, owner, leaf("a.example"), active=True)
    reporting.simulate_patch(f"{path}/active", json={"active": False})
    reporting.simulate_put(path, json=leaf("a.example"))

    assert numbers(drill(reporting)[0]) == [2, 1, 2, 0, 0, 0]


def test_a_self_signed_certificate_does_not_match_an_issuer(
    reporting: TestClient, owner: int
) -> None:
    path = store(reporting, owner, self_signed("a.example"), active=True)
    certificate = reporting.simulate_get(path).json

    assert drill(reporting, issuer=certificate["issuer"])[1] == []
    assert len(drill(reporting, serials=certificate["serial"])[1]) == 1


def test_expired_versions_are_not_affected(reporting: TestClient, owner: int, clock: Clock) -> None:
    path = store(reporting, owner, leaf("a.example", days=20), active=True)
    reporting.simulate_put(path, json=leaf("a.example", by="Other CA"))
    store(reporting, owner, leaf("b.example", days=20))
    assert drill(reporting)[0]["affected"] == 2

    clock.now += 21 * DAY
    assert drill(reporting) == ({**dict.fromkeys(drill(reporting)[0], 0)}, [])


def test_a_version_that_waits_for_its_cutover_is_affected(
    reporting: TestClient, owner: int
) -> None:
    path = store(reporting, owner, leaf("a.example", by="Other CA"), active=True)
    at = (authority.NOW + DAY).isoformat()
    answer = reporting.simulate_put(path, json=leaf("a.example", activate_at=at))
    assert answer.status_code < 300, answer.text

    counts, (certificate,) = drill(reporting)
    assert numbers(counts) == [1, 0, 1, 0, 0, 0]
    assert (certificate["version"], certificate["affected_version"]) == (1, 2)


def test_keys_and_serial_numbers_select_certificates(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    one = reporting.simulate_get(store(reporting, owner, leaf("a.example"))).json
    two = reporting.simulate_get(store(reporting, stranger, leaf("a.example", by="CA 2"))).json
    third = reporting.simulate_get(store(reporting, stranger, leaf("b.example"))).json

    def found(**criteria: str) -> list[int]:
        return [certificate["id"] for certificate in drill(reporting, **criteria)[1]]

    assert found(spki=one["spki_sha256"].upper()) == [one["id"], two["id"]]
    assert found(serials=f"00{two['serial']}, {third['serial'].upper()},ff") == [
        two["id"],
        third["id"],
    ]
    assert found(issuer=REVOKED) == [one["id"], third["id"]]
    assert found(issuer="CN=Revoked") == []


def test_notifications_count_since_a_time(reporting: TestClient, owner: int, clock: Clock) -> None:
    store(reporting, owner, leaf("a.example"))
    silent = store(reporting, owner, leaf("b.example"))
    clock.now += DAY
    begin = clock.now.isoformat().replace("+00:00", "Z")
    assert numbers(drill(reporting)[0])[:3] == [2, 0, 2]
    assert numbers(drill(reporting, issuer=REVOKED, since=begin)[0])[:3] == [2, 0, 0]

    change = {"active": True, "notify": False}
    reporting.simulate_patch(f"{silent}/active", json=change)
    assert numbers(drill(reporting, issuer=REVOKED, since=begin)[0])[:3] == [2, 1, 0]
    reporting.simulate_patch(f"{silent}/active", json={"active": False})
    counts, certificates = drill(reporting, issuer=REVOKED, since=begin)
    assert counts["notified"] == 1
    assert [certificate["notified"] for certificate in certificates] == [False, True]


def test_affected_certificates_come_in_pages_with_the_numbers_of_all(
    reporting: TestClient, engine: sa.Engine
) -> None:
    (user,) = add_users(engine, 1, external_id="crm-1")
    end = authority.NOW + 90 * DAY
    ids = add_certificates(engine, user, 5, issuer=REVOKED, not_after=end)

    seen, path = list[tuple[int, str]](), f"/incidents?issuer={REVOKED}&limit=2"
    while path:
        answer = reporting.simulate_get(path)
        assert answer.json["counts"]["affected"] == 5
        seen += [(one["id"], one["external_id"]) for one in answer.json["certificates"]]
        path = answer.headers.get("link", "<>").split(">")[0].strip("<")

    assert seen == [(certificate_id, "crm-1") for certificate_id in ids]


def table(answer: Result) -> list[list[str]]:
    """The rows of an answer in CSV."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/csv"
    return [*csv.reader(io.StringIO(answer.text, newline=""))]


def test_csv_has_all_affected_certificates_and_no_formulas(
    reporting: TestClient, engine: sa.Engine
) -> None:
    end = authority.NOW + 90 * DAY
    identifiers = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", 'a,"b"', "plain", "a=b"]
    for identifier in identifiers:
        (user,) = add_users(engine, 1, external_id=identifier)
        names = '["a.example","b.example"]'
        add_certificates(
            engine, user, 1, issuer=REVOKED, not_after=end, hostnames=names, serial="1f"
        )

    answer = reporting.simulate_get(
        "/incidents", params={"issuer": REVOKED, "limit": "1"}, headers={"Accept": "text/csv"}
    )

    header, *rows = table(answer)
    assert header[:4] == ["id", "user_id", "external_id", "hostnames"]
    shown = dict(zip(header, rows[0], strict=True))
    assert (shown["hostnames"], shown["serial"]) == ("a.example b.example", "1f")
    assert (shown["active"], shown["not_after"]) == ("true", end.strftime("%Y-%m-%dT%H:%M:%SZ"))
    safe = ["'" + identifier for identifier in identifiers[:6]]
    assert [row[2] for row in rows] == [*safe, *identifiers[6:]]
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_export_that_is_too_large_is_refused(
    reporting: TestClient, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customer_certificates.services.fleet.incidents.MOST_EXPORTED", 2)
    (user,) = add_users(engine, 1)
    end = authority.NOW + 90 * DAY
    asked = {"params": {"issuer": REVOKED}, "headers": {"Accept": "text/csv"}}
    add_certificates(engine, user, 2, issuer=REVOKED, not_after=end)
    assert len(table(reporting.simulate_get("/incidents", **asked))) == 3
    add_certificates(engine, user, 1, issuer=REVOKED, not_after=end)

    answer = reporting.simulate_get("/incidents", **asked)

    assert refusal(answer)[:2] == (409, "conflict")
    assert "More than 2 certificates are affected" in answer.json["detail"]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {"issuer"}),
        ("issuer=CN%3Da&spki=" + "ab" * 32, {"spki"}),
        ("serials=1&issuer=CN%3Da&spki=" + "ab" * 32, {"serials"}),
        ("issuer=", {"issuer"}),
        ("issuer=" + "a" * 501, {"issuer"}),
        ("issuer=%00", {"issuer"}),
        ("spki=12", {"spki"}),
        ("serials=", {"serials"}),
        ("serials=1,,2", {"serials"}),
        ("serials=xyz", {"serials"}),
        ("serials=" + ",".join(["1"] * 101), {"serials"}),
        ("serials=" + "1" * 161, {"serials"}),
        ("serials=1&since=yesterday", {"since"}),
        ("serial=1", {"serial", "issuer"}),
    ],
)
def test_invalid_criteria_are_refused(client: TestClient, query: str, fields: set[str]) -> None:
    answer = client.simulate_get("/incidents", query_string=query)

    assert answer.status_code == 422
    assert set(refusal(answer)[2]) == fields


@pytest.mark.one_backend
def test_other_media_types_are_refused(client: TestClient) -> None:
    answer = client.simulate_get("/incidents?serials=1", headers={"Accept": "image/png"})

    assert answer.status_code == 406
