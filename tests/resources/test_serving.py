"""Proof of serving: what terminators report, who sees it, and which one lags."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.models import AuditEntry, Event

from ..applications import Clock
from ..credentials import bearer, make_token
from ..pki import authority
from . import refusal, self_signed, store
from .feed_reader import Reader
from .test_feed import id_of
from .test_resolver import DAY, WWW
from .test_terminators import LONG

pytestmark = pytest.mark.one_backend

REPORTS = "/terminators/reports"


def stored(client: TestClient, user_id: int, hostname: str = WWW) -> str:
    return store(client, user_id, self_signed(hostname, **LONG), active=True)


def shown(client: TestClient, path: str) -> list[dict[str, Any]]:
    serving: list[dict[str, Any]] = client.simulate_get(path).json["serving"]
    return serving


def item(client: TestClient, path: str, **changes: Any) -> dict[str, Any]:
    """The report of a terminator about a certificate that it serves."""
    certificate = client.simulate_get(path).json
    said = {
        "certificate_id": certificate["id"],
        "version": certificate["version"],
        "fingerprint_sha256": certificate["fingerprint_sha256"],
    }
    return {**said, **changes}


def report(client: TestClient, terminator: str = "edge-1", **said: Any) -> Result:
    return client.simulate_post(REPORTS, json={"terminator": terminator, "format": "nginx", **said})


def served_events(engine: sa.Engine) -> list[tuple[int | None, int | None]]:
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(Event.certificate_id, Event.version)
            .where(Event.type == "certificate.served")
            .order_by(Event.id)
        )
        return [(certificate_id, version) for certificate_id, version in rows]


def test_a_certificate_says_who_serves_it(
    reporting: TestClient, owner: int, clock: Clock, engine: sa.Engine
) -> None:
    path = stored(reporting, owner)
    certificate_id = id_of(path)
    assert shown(reporting, path) == []

    answer = report(reporting, served=[item(reporting, path)])
    assert (answer.status_code, answer.content) == (204, b"")
    first = f"{authority.NOW:%Y-%m-%dT%H:%M:%SZ}"
    assert shown(reporting, path) == [
        {"terminator": "edge-1", "version": 1, "since": first, "verified": None}
    ]

    clock.now += timedelta(minutes=5)
    report(reporting, served=[item(reporting, path)])
    report(reporting, "edge-0", served=[item(reporting, path)])
    reporting.simulate_put(path, json=self_signed(WWW, **LONG))
    report(reporting, served=[item(reporting, path)])
    later = first.replace("12:00", "12:05")
    assert shown(reporting, path) == [
        {"terminator": "edge-0", "version": 1, "since": later, "verified": None},
        {"terminator": "edge-1", "version": 2, "since": later, "verified": None},
    ]
    assert served_events(engine) == [(certificate_id, 1), (certificate_id, 1), (certificate_id, 2)]

    report(reporting, "edge-0", dropped=[certificate_id])
    assert [one["terminator"] for one in shown(reporting, path)] == ["edge-1"]
    report(reporting, "edge-0", served=[item(reporting, path, version=1)])
    assert len(shown(reporting, path)) == 2
    assert len(served_events(engine)) == 3, "that it serves version 1 was said before"


def test_what_a_probe_found_is_shown(reporting: TestClient, owner: int, clock: Clock) -> None:
    path = stored(reporting, owner)
    report(reporting, served=[item(reporting, path)])
    since = shown(reporting, path)[0]["since"]
    clock.now += DAY
    for verified in (True, False):
        report(reporting, served=[item(reporting, path, verified=verified)])
        assert [(one["verified"], one["since"]) for one in shown(reporting, path)] == [
            (verified, since)
        ]
    reporting.simulate_put(path, json=self_signed(WWW, **LONG))
    report(reporting, served=[item(reporting, path)])
    assert shown(reporting, path)[0]["verified"] is None


def test_its_entity_tag_changes_and_a_writer_is_not_disturbed(
    reporting: TestClient, owner: int
) -> None:
    path = stored(reporting, owner)
    before = reporting.simulate_get(path).headers["ETag"]
    report(reporting, served=[item(reporting, path)])
    after = reporting.simulate_get(path, headers={"If-None-Match": before})
    tag = after.headers["ETag"]

    assert (after.status_code, after.json["serving"][0]["terminator"]) == (200, "edge-1")
    assert tag != before
    again = reporting.simulate_get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    renewed = reporting.simulate_put(
        path, json=self_signed(WWW, **LONG), headers={"If-Match": before}
    )
    assert renewed.status_code == 200
    for stale in (before, tag):
        answer = reporting.simulate_delete(path, headers={"If-Match": stale})
        assert refusal(answer)[0] == 412
    current = reporting.simulate_get(path).headers["ETag"]
    gone = reporting.simulate_delete(
        f"{path}?allow_lost_hostnames=true", headers={"If-Match": current}
    )
    assert gone.status_code == 204


def test_the_list_is_as_it_was(reporting: TestClient, owner: int) -> None:
    path = stored(reporting, owner)
    before = reporting.simulate_get(f"/users/{owner}/certificates")
    report(reporting, served=[item(reporting, path)])
    after = reporting.simulate_get(f"/users/{owner}/certificates")

    assert (after.content, after.headers["ETag"]) == (before.content, before.headers["ETag"])
    assert "serving" not in after.json[0]


def test_what_is_not_there_is_passed_over(
    reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    path = stored(reporting, owner)
    unknown = item(reporting, path, certificate_id=2**62)
    future = item(reporting, path, version=7)
    assert report(reporting, served=[unknown, future], dropped=[2**61]).status_code == 204
    assert (shown(reporting, path), served_events(engine)) == ([], [])

    report(reporting, served=[item(reporting, path)])
    said = item(reporting, path)
    reporting.simulate_delete(path)
    assert report(reporting, served=[said], dropped=[id_of(path)]).status_code == 204


def test_a_terminator_speaks_of_what_is_within_its_reach(
    reporting: TestClient, closed: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    mine, theirs = stored(reporting, owner), stored(reporting, stranger, "www.example.org")
    token = make_token(engine, "terminator", user_ids=f"[{owner}]")
    terminator = TestClient(closed.app, headers=bearer(token))
    said = [item(reporting, mine), item(reporting, theirs)]

    assert report(terminator, served=said).status_code == 204
    assert (len(shown(reporting, mine)), shown(reporting, theirs)) == (1, [])


def test_an_operator_sees_which_terminator_lags(
    reporting: TestClient, owner: int, clock: Clock, engine: sa.Engine
) -> None:
    reader = Reader(reporting, engine)
    reader.read()
    early = reader.cursor
    happened = clock.now = authority.NOW + timedelta(minutes=1)
    for name in ("a.example.com", "b.example.com"):
        stored(reporting, owner, name)
    reader.read()
    clock.now += timedelta(minutes=1)
    report(reporting, "late", cursor=early, errors=["nginx -t failed: …"])
    report(reporting, "current", cursor=reader.cursor)
    report(reporting, "lost", cursor="of another time")
    answer = reporting.simulate_get("/terminators")

    seen = f"{clock.now:%Y-%m-%dT%H:%M:%SZ}"
    since = f"{happened:%Y-%m-%dT%H:%M:%SZ}"
    assert [{name: of for name, of in one.items() if name != "id"} for one in answer.json] == [
        {
            "name": name,
            "format": "nginx",
            "seen_at": seen,
            "behind": behind,
            "behind_since": first,
            "errors": errors,
        }
        for name, behind, first, errors in (
            ("late", 2, since, ["nginx -t failed: …"]),
            ("current", 0, None, []),
            ("lost", None, None, []),
        )
    ]
    first = reporting.simulate_get("/terminators", params={"limit": 1})
    assert len(first.json) == 1
    assert f"after={first.json[0]['id']}" in first.headers["Link"]


def test_a_terminator_that_is_no_more_can_be_forgotten(
    reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    path = stored(reporting, owner)
    report(reporting, served=[item(reporting, path)])
    (terminator,) = reporting.simulate_get("/terminators").json
    url = f"/terminators/reports/{terminator['id']}"

    assert reporting.simulate_delete(url).status_code == 204
    assert (shown(reporting, path), reporting.simulate_get("/terminators").json) == ([], [])
    assert refusal(reporting.simulate_delete(url)) == (404, "not-found", {})
    with engine.connect() as connection:
        actions = connection.execute(
            sa.select(AuditEntry.action, AuditEntry.detail).where(AuditEntry.chain == 0)
        )
        assert [tuple(row) for row in actions] == [
            ("terminator.report", '{"dropped":0,"served":1}'),
            ("terminator.forget", "{}"),
        ]


@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        ({"terminator": ""}, "terminator"),
        ({"terminator": "a\x00b"}, "terminator"),
        ({"served": [{"certificate_id": 1}]}, "served"),
        (
            {"served": [{"certificate_id": 0, "version": 1, "fingerprint_sha256": "0" * 64}]},
            "served",
        ),
        ({"served": [{"certificate_id": 1, "version": 1, "fingerprint_sha256": "x"}]}, "served"),
        ({"dropped": ["1"]}, "dropped"),
        ({"dropped": [1] * 1001}, "dropped"),
        ({"errors": ["x" * 1001]}, "errors"),
        ({"private_key": "x"}, "private_key"),
    ],
)
def test_what_is_no_report_is_refused(
    reporting: TestClient, changes: dict[str, Any], blamed: str
) -> None:
    status, kind, fields = refusal(report(reporting, **{"terminator": "edge", **changes}))

    assert (status, kind, {*fields}) == (422, "invalid", {blamed})


AGENT, OTHER = "0a" * 16, "0b" * 16


def test_a_name_is_for_one_live_agent(reporting: TestClient, owner: int, clock: Clock) -> None:
    path = stored(reporting, owner)
    served = [item(reporting, path)]
    assert report(reporting, instance=AGENT, served=served).status_code == 204

    for said in ({"instance": OTHER}, {}):
        answer = report(reporting, dropped=[id_of(path)], **said)
        assert answer.status_code == 409
        assert "Another agent already uses the name 'edge-1'" in answer.json["detail"]
    assert [one["terminator"] for one in shown(reporting, path)] == ["edge-1"]
    # The same agent, started again; and another agent, once the first one is gone.
    clock.now += timedelta(minutes=2)
    assert report(reporting, instance=AGENT).status_code == 204
    clock.now += timedelta(minutes=2)
    assert report(reporting, instance=OTHER).status_code == 409
    clock.now += timedelta(minutes=2)
    assert report(reporting, instance=OTHER).status_code == 204
    assert report(reporting, instance=AGENT).status_code == 409
