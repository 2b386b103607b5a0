"""Operators' pages read the data of all users, on both databases."""

import html
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.models import (
    AuditEntry,
    AuditHead,
    Delivery,
    HostnameChallenge,
    Serving,
    Terminator,
)

from ..applications import Clock
from ..owners import owner, stranger
from ..tables import add_certificates, add_terminator, add_webhook

__all__ = ["owner", "stranger"]


def text_of(client: TestClient, path: str) -> str:
    shown = client.simulate_get(f"/console/{path}")
    assert shown.status_code == 200, shown.text
    return str(shown.text)


def test_contested_hostnames_have_their_owner_and_challenger(
    client: TestClient, engine: sa.Engine, clock: Clock, owner: int, stranger: int
) -> None:
    client.simulate_put("/hostnames/www.example.com", json={"user_id": owner})
    assert "Contested" not in text_of(client, "hostnames")
    row = {
        "user_id": stranger,
        "hostname": "www.example.com",
        "txt_token": "a",
        "cname_label": "b",
        "http_token": "c",
        "state": "contesting",
        "created_at": clock.now,
        "expires_at": clock.now + timedelta(days=3),
        "attempts": 1,
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(HostnameChallenge).values(row))

    contested = text_of(client, "hostnames").partition("Contested")[2].partition("</section>")[0]
    assert "www.example.com" in contested
    assert contested.index(f"User {owner}<") < contested.index(f"User {stranger}<")


def test_backlogs_are_those_of_all_webhooks_and_the_largest_is_first(
    client: TestClient, engine: sa.Engine, owner: int
) -> None:
    add_webhook(engine, owner, url="https://fine.example/")
    small, _ = add_webhook(engine, owner, url="https://small.example/")
    large, _ = add_webhook(engine, None, url="https://large.example/")
    rows = [
        {"webhook_id": webhook_id, "event_id": 10_000 + number, "status": status}
        for number, (webhook_id, status) in enumerate(
            [(small, "pending"), (large, "dead"), (large, "pending")]
        )
    ]
    with engine.begin() as connection:
        values = [{**row, "user_id": owner, "ordering_key": row["event_id"]} for row in rows]
        connection.execute(sa.insert(Delivery), values)

    backlogs = text_of(client, "webhooks").partition("Deliveries of all webhooks")[2]
    assert backlogs.index("https://large.example/") < backlogs.index("https://small.example/")
    assert "https://fine.example/" not in backlogs
    assert f'href="/console/webhooks/{large}?status=dead">1<' in backlogs


def test_the_overview_and_the_list_agree_on_the_states_of_terminators(
    client: TestClient, engine: sa.Engine, owner: int
) -> None:
    add_certificates(engine, owner, 1)
    cursor = client.simulate_get("/terminators/feed").json["cursor"]
    now, minutes = datetime.now(UTC), timedelta(minutes=1)
    rows = {
        "follows": {"cursor": cursor},
        "without-cursor": {},
        "of-another-database": {"cursor": cursor.replace(cursor[:4], "beef")},
        "fails": {"cursor": cursor, "errors": '["full"]'},
        "just-in-time": {"cursor": cursor, "seen_at": now - 4 * minutes},
        "gone": {"cursor": cursor, "seen_at": now - 6 * minutes},
        "probe": {"format": "probe", "seen_at": now - 6 * minutes, "errors": '["no"]'},
    }
    row = {"format": "nginx", "cursor": None, "errors": "[]", "seen_at": now}
    with engine.begin() as connection:
        values = [{**row, "name": name, **changes} for name, changes in rows.items()]
        connection.execute(sa.insert(Terminator), values)

    table = text_of(client, "terminators").partition("<tbody>")[2].partition("</tbody>")[0]
    listed = re.findall(r'"status \w+">(\w[\w ]*)<', table)
    overview = text_of(client, "overview").partition('<h2 id="terminators">')[2]
    counted = re.findall(r">(\w+)</span>\s*</dt><dd>(\d+)<", overview.partition("</section>")[0])
    assert listed == ["current", "current", "behind", "failing", "current", "silent"]
    assert counted == [("current", "3"), ("behind", "1"), ("failing", "1"), ("silent", "1")]


def test_the_list_of_terminators_counts_the_served_certificates(
    client: TestClient, engine: sa.Engine, owner: int
) -> None:
    first, second = add_terminator(engine), add_terminator(engine, name="edge-2")
    ids = add_certificates(engine, owner, 3)
    row = {"user_id": owner, "version": 1, "since": datetime.now(UTC), "verified": None}
    served = [(first, ids[0], True), (first, ids[1], True), (first, ids[2], False)]
    with engine.begin() as connection:
        connection.execute(
            sa.insert(Serving),
            [
                {**row, "terminator_id": terminator_id, "certificate_id": id_, "serves": serves}
                for terminator_id, id_, serves in [*served, (second, ids[2], True)]
            ],
        )

    page = text_of(client, "terminators")

    assert re.findall(r'data-label="Certificates" class="number">(\d+)<', page) == ["2", "1"]


def test_errors_of_terminators_do_not_fill_the_page(client: TestClient, engine: sa.Engine) -> None:
    errors = json.dumps([f"error {number}: {'<' * 900}" for number in range(100)])
    row = {"format": "nginx", "cursor": None, "errors": errors, "seen_at": datetime.now(UTC)}
    with engine.begin() as connection:
        values = [{**row, "name": f"edge-{number}"} for number in range(60)]
        connection.execute(sa.insert(Terminator), values)

    page = text_of(client, "terminators")
    assert len(page) < 300_000
    shown = [page.count(text) for text in ("error 2: &lt;", "error 3", "and 97 more")]
    assert shown == [50, 0, 50]
    following = page.partition('href="?')[2].partition('"')[0]
    assert "Delete edge-59" in text_of(client, f"terminators?{following}")


def test_a_search_of_the_audit_log_goes_on_where_it_stopped(
    client: TestClient, engine: sa.Engine, clock: Clock, owner: int
) -> None:
    """A page searches 10,000 entries: the only one of a kind may be older."""
    last = 10_500
    entry = {
        "chain": owner,
        "at": clock.now,
        "actor_kind": "open",
        "outcome": "done",
        "request_id": "a",
        "peer": "127.0.0.1",
        "detail": "{}",
        "prev_hash": "",
        "hash": "",
    }
    rows = [
        {**entry, "seq": seq, "action": "token.create" if seq == 7 else "user.change"}
        for seq in range(1, last + 1)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(AuditEntry), rows)
        head = {"chain": owner, "seq": last, "hash": "", "at": clock.now}
        connection.execute(sa.insert(AuditHead).values(head))

    search = f"audit?user={owner}&kind=token&outcome=done"
    first = text_of(client, search)
    assert "Older entries may." in first
    assert f"{search.partition('?')[2].replace('&', '&amp;')}&amp;before=501" in first
    second = text_of(client, f"{search}&before=501")
    assert ("Entry 7<" in second, "Older entries" in second) == (True, False)
    assert "Entry 10500<" in text_of(client, f"audit?user={owner}")


@pytest.mark.parametrize("path", ["audit?user=999999", "hostnames?hostname=-", "users?email=ada"])
def test_an_invalid_search_says_so(client: TestClient, path: str) -> None:
    refused = client.simulate_get(f"/console/{path}")

    assert refused.status_code in (404, 422)
    assert 'role="alert"' in refused.text


def test_each_number_of_days_left_leads_to_as_many_certificates(
    reporting: TestClient, clock: Clock, engine: sa.Engine, owner: int
) -> None:
    midnight = clock.now.replace(hour=0, minute=0, second=0, microsecond=0)
    second = timedelta(seconds=1)
    ends = [clock.now - second, clock.now + second]
    for days in (8, 31, 61, 91):
        ends += [midnight + timedelta(days=days) - second, midnight + timedelta(days=days)]
    for end in [*ends, midnight, midnight - second]:
        for active in (True, False):
            dates = {"not_before": midnight - timedelta(days=9), "not_after": end}
            add_certificates(engine, owner, 1, active=active, hostnames='["a.test"]', **dates)
    overview = text_of(reporting, "overview").partition('id="by-days"')[2]
    rows = re.findall(
        r'<a href="/console/([^"]+)">([^<]+)</a>.*?class="number">(\d+)',
        overview.partition("</table>")[0],
        re.DOTALL,
    )

    assert [(label, int(number)) for _, label, number in rows] == [
        ("Expired", 3),
        *(("0 to 7 days", 2), ("8 to 30 days", 2), ("31 to 60 days", 2), ("61 to 90 days", 2)),
        ("More than 90 days", 1),
    ]
    for link, label, number in rows:
        shown = text_of(reporting, html.unescape(link))
        assert shown.count('data-label="Days left"') == int(number), label
