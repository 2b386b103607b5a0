"""The summary equals a full count of the certificates, at any time and after any change."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.gateways.database import Database
from customer_certificates.models import Certificate, SummaryChange, SummaryDates, SummaryValue
from customer_certificates.services.certificates.views import not_servable_reason, status_of
from customer_certificates.services.fleet.summary import Summary
from customer_certificates.services.fleet.summary_counters import SummaryCounters
from customer_certificates.services.fleet.summary_views import SummaryView

from ...pki import authority
from ...resources import self_signed, store
from ...tables import NOW, add_certificates, add_users

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
_READABLE = ["public", "private", "self_signed", "incomplete"]


@pytest.fixture
def counters(database: Database) -> SummaryCounters:
    return SummaryCounters(database, lambda: NOW)


@pytest.fixture
def summary(database: Database) -> Summary:
    return Summary(database, lambda: NOW)


def test_the_summary_counts_each_state_of_a_certificate_at_any_time(
    summary: Summary, counters: SummaryCounters, engine: sa.Engine
) -> None:
    (user,) = add_users(engine, 1)
    # Fixed: a failure is repeatable.
    choices = random.Random(17)
    for _ in range(300):
        add_certificates(engine, user, 1, **any_content(choices))

    for at in (NOW, NOW + 7 * DAY, NOW - DAY / 2, NOW + timedelta(microseconds=1)):
        require_equal(summary.read(at), full_count(engine, at))
    counters.fold()
    assert number_of_changes(engine) == 0
    for at in (NOW, NOW + 200 * DAY, NOW + SECOND / 2, NOW - SECOND):
        require_equal(summary.read(at), full_count(engine, at))


def test_changes_and_deletions_count_before_and_after_a_worker_adds_them(
    summary: Summary, counters: SummaryCounters, engine: sa.Engine
) -> None:
    choices = random.Random(4)
    users = add_users(engine, 3)
    ids = [
        new
        for user in users
        for _ in range(20)
        for new in add_certificates(engine, user, 1, **any_content(choices))
    ]
    for step in range(40):
        change_any(engine, choices, ids)
        if step % 8 == 3:
            counters.fold()
        if step % 5 == 0:
            require_equal(summary.read(), full_count(engine, NOW))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM users WHERE id = {users[0]}")
    require_equal(summary.read(), full_count(engine, NOW))
    counters.fold()
    require_equal(summary.read(), full_count(engine, NOW))
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM users")
    counters.fold()

    assert summary.read().certificates == 0
    assert number_of_counters(engine) == 0


def test_writes_of_the_api_are_counted(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int, database: Database
) -> None:
    client, now = reporting, authority.NOW
    summary = Summary(database, lambda: now + timedelta(hours=1))
    counters = SummaryCounters(database, lambda: now)
    first, second, third = (self_signed(f"{name}.example") for name in "abc")
    path = store(client, owner, first)
    other = store(client, stranger, second, active=True)

    def activate(active: bool, certificate: str = path) -> None:
        answer = client.simulate_patch(f"{certificate}/active", json={"active": active})
        assert answer.status_code == 202, answer.text

    steps: list[Callable[[], Any]] = [
        lambda: activate(True),
        lambda: client.simulate_put(path, json={**third, "allow_lost_hostnames": True}),
        lambda: client.simulate_post(
            f"{path}/rollback", json={"version": 1, "allow_lost_hostnames": True}
        ),
        lambda: client.simulate_patch(path, json={"labels": {"env": "test"}}),
        lambda: activate(False),
        lambda: activate(True),
        lambda: client.simulate_delete(path, params={"allow_lost_hostnames": "true"}),
        lambda: activate(False, other),
        lambda: client.simulate_delete(f"/users/{stranger}"),
    ]
    statuses = []
    for number, step in enumerate(steps):
        answer = step()
        assert answer is None or answer.status_code < 300, answer.text
        if number % 3 == 2:
            counters.fold()
        view = summary.read()
        require_equal(view, full_count(engine, now + timedelta(hours=1)))
        statuses.append((view.status.active, view.status.inactive))

    assert statuses == [(2, 0)] * 4 + [(1, 1), (2, 0), (1, 0), (0, 1), (0, 0)]


def test_a_change_of_labels_adds_no_row(engine: sa.Engine) -> None:
    (user,) = add_users(engine, 1)
    add_certificates(engine, user, 1)
    with engine.begin() as connection:
        connection.execute(sa.update(Certificate).values(labels='{"env": "test"}', pending="{}"))

    assert number_of_changes(engine) == 1


def test_the_answer_is_bounded(
    summary: Summary, counters: SummaryCounters, engine: sa.Engine
) -> None:
    (user,) = add_users(engine, 1)
    for number in range(30):
        content = {"issuer": f"CN={number}" * 150, "key_algorithm": f"RSA-{number}"}
        add_certificates(engine, user, 1 + number % 3, trust="private", **content)
        if number == 15:
            counters.fold()
    # Some of the most frequent ones have changes, some have none.
    add_certificates(engine, user, 4, issuer="CN=2" * 150, key_algorithm="RSA-2")

    view = summary.read()

    assert len(view.issuers) == len(view.key_algorithms) == 20
    assert view.issuers[0].issuer == ("CN=2" * 150)[:500]
    assert [issuer.certificates for issuer in view.issuers] == [7] + [3] * 9 + [2] * 10
    assert view.other_issuers == view.other_key_algorithms == 64 - 54
    assert [day.date for day in view.expiries] == [NOW.date() + n * DAY for n in range(91)]


def test_two_workers_add_each_change_once(engine: sa.Engine, database: Database) -> None:
    (user,) = add_users(engine, 1)
    add_certificates(engine, user, 5000, trust="public", issuer="CN=a")
    workers = [SummaryCounters(database, lambda: NOW) for _ in range(3)]

    with ThreadPoolExecutor(3) as pool:
        folded = list(pool.map(lambda worker: worker.fold(), workers))
    # A worker leaves the changes to another one that is at it.
    folded.append(workers[0].fold())

    assert sum(folded) == 5000
    assert Summary(database, lambda: NOW).read().trust.public == 5000


def test_a_recount_corrects_the_counters(
    summary: Summary, counters: SummaryCounters, engine: sa.Engine
) -> None:
    choices = random.Random(5)
    (user,) = add_users(engine, 1)
    for _ in range(30):
        add_certificates(engine, user, 1, **any_content(choices))
    counters.fold()
    add_certificates(engine, user, 3, **any_content(choices))
    assert counters.recount() == 0
    with engine.begin() as connection:
        connection.execute(sa.update(SummaryValue).values(number=SummaryValue.number + 2))
        connection.execute(sa.delete(SummaryDates).where(SummaryDates.active))
        connection.execute(
            sa.insert(SummaryValue), [{"dimension": "issuer", "value": "CN=x", "number": 9}]
        )

    assert counters.recount() > 3
    require_equal(summary.read(), full_count(engine, NOW))
    assert counters.recount() == 0


def test_a_recount_neither_waits_for_writers_nor_loses_their_changes(
    summary: Summary, counters: SummaryCounters, engine: sa.Engine, database: Database
) -> None:
    (user,) = add_users(engine, 1)
    ids = add_certificates(engine, user, 50, trust="public", issuer="CN=a")
    counters.fold()
    with engine.begin() as connection:
        connection.execute(sa.update(SummaryValue).values(number=1))
    snapshot = database.read_snapshot

    def during(read: Any) -> Any:
        def read_while_others_write(statement: Any) -> Any:
            found = read(statement)
            add_certificates(engine, user, 2, trust="public", issuer="CN=b")
            delete(engine, ids[0])
            counters.fold()
            return found

        return snapshot(read_while_others_write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "read_snapshot", during)
        assert counters.recount()

    require_equal(summary.read(), full_count(engine, NOW))


def test_two_recounts_at_once_correct_the_counters_once(
    summary: Summary, counters: SummaryCounters, engine: sa.Engine, database: Database
) -> None:
    (user,) = add_users(engine, 1)
    add_certificates(engine, user, 5, trust="public", issuer="CN=a")
    counters.fold()
    with engine.begin() as connection:
        connection.execute(sa.update(SummaryValue).values(number=1))
    snapshot = database.read_snapshot

    def after_another(read: Any) -> Any:
        found = snapshot(read)
        assert SummaryCounters(database, lambda: NOW).recount()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "read_snapshot", _first_only(after_another, snapshot))
        assert counters.recount() == 0

    require_equal(summary.read(), full_count(engine, NOW))


def _first_only(first: Any, others: Any) -> Any:
    calls = iter([first])
    return lambda read: next(calls, others)(read)


def any_content(choices: random.Random) -> dict[str, Any]:
    """The columns of a certificate in some state, near the instants at which it changes."""
    stored = NOW - choices.choice([1, 2, 400]) * DAY
    content = {
        "active": choices.random() < 0.7,
        "created_at": stored,
        "updated_at": choices.choice([None, stored + DAY / 24]),
    }
    if choices.random() < 0.1:
        return {**content, "trust": "unreadable", "not_servable": choices.choice([None, "no_key"])}
    not_before = (
        NOW + choices.choice([-500, -30, -2, 0, 0, 7]) * DAY + choices.choice([0, 1]) * SECOND
    )
    days = choices.choice([-1, 0, 0, 0, 1, 7, 8, 30, 31, 60, 61, 90, 91, 397])
    seconds = choices.choice([-3600, -1, 0, 1, 3600])
    not_after = NOW + days * DAY + seconds * SECOND
    chain = choices.choice([0, 0, 0, 1, 2])
    return {
        **content,
        "trust": choices.choice(_READABLE),
        "not_before": not_before,
        "not_after": not_after,
        "serve_not_before": not_before + choices.choice([0, 1, 9]) * DAY if chain else None,
        "serve_not_after": not_after - choices.choice([0, 1, 2]) * DAY if chain > 1 else None,
        "not_servable": choices.choice([None, None, None, "no_key", "not_loadable"]),
        "issuer": choices.choice(["CN=a", "CN=b", "CN=a, O=ü"]),
        "key_algorithm": choices.choice(["RSA-2048", "ECDSA-P-256"]),
    }


def change_any(engine: sa.Engine, choices: random.Random, ids: list[int]) -> None:
    """Changes some certificates, or deletes one."""
    changed = choices.sample(ids, 3)
    if choices.random() < 0.2:
        delete(engine, changed[0])
        ids.remove(changed[0])
        return
    content = any_content(choices)
    some = dict(choices.sample(sorted(content.items()), 4))
    with engine.begin() as connection:
        connection.execute(sa.update(Certificate).where(Certificate.id.in_(changed)).values(some))


def delete(engine: sa.Engine, certificate_id: int) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(Certificate).where(Certificate.id == certificate_id))


def require_equal(view: SummaryView, counted: dict[str, Any]) -> None:
    """Fails unless the summary has these numbers."""
    assert {
        "certificates": view.certificates,
        "status": numbers(view.status),
        "days": numbers(view.days),
        "active_days": numbers(view.active_days),
        "servable": numbers(view.servable),
        "trust": numbers(view.trust),
        "issuers": {of.issuer: of.certificates for of in view.issuers},
        "key_algorithms": {of.key_algorithm: of.certificates for of in view.key_algorithms},
        "expiries": {of.date: of.certificates for of in view.expiries if of.certificates},
    } == counted
    assert view.other_issuers == view.other_key_algorithms == 0


def numbers(counted: Any) -> dict[str, int]:
    return {
        name: getattr(counted, name) for name in counted.__struct_fields__ if getattr(counted, name)
    }


def full_count(engine: sa.Engine, at: datetime) -> dict[str, Any]:
    """The numbers of the summary, counted by the rules of the lists of certificates."""
    counts: dict[str, Counter[Any]] = {
        name: Counter()
        for name in (
            *("status", "days", "active_days", "servable"),
            *("trust", "issuers", "key_algorithms", "expiries"),
        )
    }
    with engine.connect() as connection:
        rows = connection.execute(sa.select(Certificate.__table__)).all()
    for row in rows:
        status = status_of(row.active, row.not_before, row.not_after, at)
        day = None if row.not_after is None else (row.not_after.date() - at.date()).days
        days = range_of(day, status == "expired")
        counts["status"][status] += 1
        counts["days"][days] += 1
        counts["trust"][row.trust] += 1
        counts["issuers"][row.issuer] += 1
        counts["key_algorithms"][row.key_algorithm] += 1
        if not row.active:
            continue
        valid = row.not_before, row.not_after
        window = row.serve_not_before, row.serve_not_after
        reason = not_servable_reason(row.trust, valid, window, row.not_servable, at)
        counts["active_days"][days] += 1
        counts["servable"][reason or "servable"] += 1
        if day is not None and status != "expired" and day <= 90:
            counts["expiries"][expiry_date(at, day)] += 1
    return {"certificates": len(rows), **{name: dict(of) for name, of in counts.items()}}


def expiry_date(at: datetime, day: int) -> date:
    return at.date() + timedelta(days=day)


def range_of(day: int | None, is_expired: bool) -> str:
    if day is None or is_expired:
        return "unreadable" if day is None else "expired"
    names = ["days_0_to_7", "days_8_to_30", "days_31_to_60", "days_61_to_90", "over_90_days"]
    return names[sum(day > last for last in (7, 30, 60, 90))]


def number_of_changes(engine: sa.Engine) -> int:
    return _number(engine, SummaryChange)


def number_of_counters(engine: sa.Engine) -> int:
    return _number(engine, SummaryDates) + _number(engine, SummaryValue)


def _number(engine: sa.Engine, table: Any) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
