"""The gauges that a background worker computes, on filled tables."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any, cast

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families

from customer_certificates.errors import Unavailable
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.models import (
    CertificateHostname,
    Delivery,
    HostnameChallenge,
    HostnameClaim,
    Terminator,
)
from customer_certificates.services.fleet import replacements
from customer_certificates.services.fleet.gauges import FleetGauges
from customer_certificates.services.fleet.replacements import Replacements
from customer_certificates.services.fleet.summary import Summary
from customer_certificates.services.terminators.states import TerminatorStates
from customer_certificates.services.webhooks.backlog import Backlogs

from ...factories import an_upload
from ...tables import NOW, add_certificates, add_users, add_webhook, wait_until_settled

# Values by labels, in the order of the labels' names.
Values = dict[tuple[str, ...], float]


class Watch:
    """A background worker's gauges at the time `now`."""

    def __init__(self, database: Database, every_seconds: float = 0.0) -> None:
        self.now = NOW
        self._metrics = Metrics(None)
        self._gauges = FleetGauges(
            database,
            Summary(database, self._now),
            TerminatorStates(database, self._now),
            Backlogs(database),
            self._metrics.fleet,
            self._now,
            every_seconds=every_seconds,
        )

    def _now(self) -> datetime:
        return self.now

    def run(self) -> None:
        self._gauges.run()

    def values(self, gauge: str) -> Values:
        text = self._metrics.exposition().decode()
        return {
            tuple(sample.labels[name] for name in sorted(sample.labels)): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"customer_certificates_{gauge}"
        }


@pytest.fixture
def watch(database: Database) -> Watch:
    return Watch(database)


def add(engine: sa.Engine, table: Any, **columns: Any) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(table).values(**columns))


def test_expiring_certificates_without_a_replacement_are_counted(
    engine: sa.Engine, watch: Watch
) -> None:
    (user,) = add_users(engine, 1)

    def add_certificate(
        name: str,
        days: float,
        *,
        active: bool = True,
        lifetime: float = 90,
        trust: str = "public",
        not_servable: str | None = None,
    ) -> None:
        not_after = NOW + timedelta(days=days)
        (number,) = add_certificates(
            engine,
            user,
            1,
            active=active,
            not_before=not_after - timedelta(days=lifetime),
            not_after=not_after,
            trust=trust,
            not_servable=not_servable,
        )
        row = {"user_id": user, "hostname": name, "certificate_id": number, "active": active}
        add(engine, CertificateHostname, **row)

    add_certificate("a.example", 0.5)
    add_certificate("b.example", 6)
    add_certificate("c.example", 29)
    add_certificate("d.example", 31)
    add_certificate("e.example", -1)
    add_certificate("f.example", -31)
    add_certificate("g.example", 0.5, active=False)
    # An alarm about these would be a false one.
    add_certificate("i.example", 0.5, trust="self_signed")
    add_certificate("j.example", 0.5, trust="unreadable")
    add_certificate("k.example", 0.5, not_servable="no_key")
    add_certificate("l.example", 0.5, lifetime=9.9)
    add_certificate("m.example", -1, lifetime=1)
    # The lifetime is just long enough.
    add_certificate("n.example", 6.5, lifetime=10.1)
    # Another certificate replaces this one.
    add_certificate("h.example", 2)
    add_certificate("h.example", 90)

    watch.run()

    windows = watch.values("certificates_without_replacement")
    assert windows == {("expired",): 1, ("1d",): 1, ("7d",): 3, ("30d",): 4}


def test_many_certificates_are_counted_over_several_runs(engine: sa.Engine, watch: Watch) -> None:
    (user,) = add_users(engine, 1)
    # All expire at the same time, so that pages end between equal times.
    start, end = NOW - timedelta(days=88), NOW + timedelta(days=2)
    add_certificates(engine, user, 2100, trust="public", not_before=start, not_after=end)

    watch.run()
    assert watch.values("certificates_without_replacement") == {}
    began, watch.now = watch.now, watch.now + timedelta(seconds=1)
    watch.run()

    assert watch.values("certificates_without_replacement")["7d",] == 2100
    updates = watch.values("gauge_last_update_timestamp_seconds")
    assert updates["certificates_without_replacement",] == began.timestamp()
    assert updates["hostnames",] == watch.now.timestamp()


class SlowCertificate:
    """A database that never answers in time whether a certificate has a replacement."""

    def __init__(self, database: Database, certificate_id: int) -> None:
        self._database = database
        self._slow = certificate_id

    def prepare(self, statement: Any, **options: Any) -> Any:
        prepared = self._database.prepare(statement, **options)
        is_search = CertificateHostname.__tablename__ in str(statement)

        def run(**values: Any) -> list[Any]:
            rows: list[Any] = prepared(**values)
            if is_search and any(row[1] == self._slow for row in rows):
                raise Unavailable("The database is slow.")
            return rows

        return run


@pytest.mark.one_backend
def test_a_certificate_that_cannot_be_read_in_time_does_not_stop_the_count(
    engine: sa.Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacements, "_LEAST_PAUSE_SECONDS", 0.0)
    (user,) = add_users(engine, 1)
    start, end = NOW - timedelta(days=88), NOW + timedelta(days=2)
    slow = add_certificates(engine, user, 30, trust="public", not_before=start, not_after=end)[17]
    sweeps: Any = Replacements(cast(Database, SlowCertificate(database, slow)), lambda: NOW)

    for _ in range(40):
        with suppress(Unavailable):
            if sweep := sweeps.advance():
                break
    else:
        pytest.fail("the sweep does not end")

    assert sweep.counts["7d"] == 30


def test_certificates_are_counted_by_status_and_days(engine: sa.Engine, watch: Watch) -> None:
    (user,) = add_users(engine, 1)
    for days, active in ((-1, True), (3, False), (3, True), (8, True), (200, True)):
        dates = {"not_before": NOW - timedelta(days=9), "not_after": NOW + timedelta(days=days)}
        add_certificates(engine, user, 1, active=active, **dates)

    watch.run()

    assert watch.values("certificates") == {
        ("active",): 3,
        ("inactive",): 1,
        ("expired",): 1,
        ("not_yet_valid",): 0,
    }
    by_days = watch.values("active_certificates")
    assert {labels: number for labels, number in by_days.items() if number} == {
        ("expired",): 1,
        ("0-7",): 1,
        ("8-30",): 1,
        ("over 90",): 1,
    }


def test_the_soonest_expiry_of_an_active_certificate_is_shown(
    engine: sa.Engine, watch: Watch
) -> None:
    gauge = "soonest_expiry_timestamp_seconds"
    watch.run()
    assert isnan(watch.values(gauge)[()])
    (user,) = add_users(engine, 1)
    for days, active in ((-1, True), (3, False), (4, True), (5, True)):
        add_certificates(engine, user, 1, not_after=NOW + timedelta(days=days), active=active)

    watch.run()

    assert watch.values(gauge) == {(): (NOW + timedelta(days=4)).timestamp()}


def test_unproven_and_contested_hostnames_are_counted(engine: sa.Engine, watch: Watch) -> None:
    users = add_users(engine, 2)
    for number, proof in enumerate(("none", "none", "public_ca", "challenge", "operator")):
        add(engine, HostnameClaim, hostname=f"{number}.example", user_id=users[0], proof=proof)
    for number, state in enumerate(("contesting", "pending", "verified", "expired")):
        add(
            engine,
            HostnameChallenge,
            user_id=users[1],
            hostname=f"{number}.example",
            txt_token="t",
            cname_label=f"c{number}",
            http_token="h",
            state=state,
            created_at=NOW,
            expires_at=NOW,
            attempts=0,
        )

    watch.run()

    assert watch.values("hostnames") == {("unproven",): 2, ("contested",): 1}


def test_scheduled_and_overdue_cutovers_are_counted(engine: sa.Engine, watch: Watch) -> None:
    (user,) = add_users(engine, 1)
    for seconds in (-61, -59, 3600):
        add_certificates(engine, user, 1, activate_at=NOW + timedelta(seconds=seconds))
    add_certificates(engine, user, 1)

    watch.run()

    assert watch.values("cutovers") == {("scheduled",): 3, ("overdue",): 1}


def test_pending_and_dead_deliveries_are_counted(
    engine: sa.Engine, database: Database, watch: Watch
) -> None:
    webhook, event = add_webhook(engine, None)
    for number, status in enumerate(("pending", "pending", "dead", "delivered")):
        add(
            engine,
            Delivery,
            webhook_id=webhook,
            event_id=event + 1 + number,
            user_id=0,
            ordering_key=number,
            status=status,
        )

    watch.run()

    assert watch.values("deliveries") == {("pending",): 2, ("dead",): 1}
    assert Backlogs(database, most=1).total() == (1, 1)


def test_terminators_are_counted_by_state(
    client: TestClient, owner: int, engine: sa.Engine, watch: Watch
) -> None:
    before = client.simulate_get("/terminators/feed").json["cursor"]
    assert (
        client.simulate_post(
            f"/users/{owner}/certificates", json=an_upload(active=True)
        ).status_code
        == 201
    )
    changed_at = datetime.now(UTC)
    wait_until_settled(engine)
    after = client.simulate_get("/terminators/feed").json["cursor"]
    late = changed_at + timedelta(minutes=6)

    def add_terminator(name: str, cursor: str | None, **columns: Any) -> None:
        row = {"format": "", "errors": "[]", "seen_at": late, "cursor": cursor, **columns}
        add(engine, Terminator, name=name, **row)

    add_terminator("follows", after)
    add_terminator("never followed", None)
    add_terminator("stands still", before)
    add_terminator("of another database", before.replace(before[:4], "beef"))
    add_terminator("fails", after, errors='["nginx: [emerg]"]')
    add_terminator("is gone", after, seen_at=late - timedelta(minutes=6))
    add_terminator("of a user", after, user_id=owner, seen_at=late - timedelta(minutes=6))
    add_terminator("probed once", None, format="probe", seen_at=late - timedelta(minutes=6))
    add_terminator("probed", None, format="probe", errors='["www.example.com: refused"]')

    watch.now = late
    watch.run()
    counted = {labels: number for labels, number in watch.values("terminators").items() if number}
    assert counted == {
        ("operator", "current"): 2,
        ("operator", "behind"): 2,
        ("operator", "failing"): 1,
        ("operator", "silent"): 1,
        ("user", "silent"): 1,
    }
    # A change that has just happened may still be on its way.
    watch.now = changed_at + timedelta(minutes=4)
    watch.run()
    assert watch.values("terminators")["operator", "behind"] == 1


def test_a_value_that_becomes_zero_is_published(engine: sa.Engine, watch: Watch) -> None:
    (user,) = add_users(engine, 1)
    add(engine, HostnameClaim, hostname="a.example", user_id=user)
    watch.run()
    assert watch.values("hostnames")["unproven",] == 1
    with engine.begin() as connection:
        connection.execute(sa.delete(HostnameClaim))

    watch.run()

    assert watch.values("hostnames")["unproven",] == 0


def test_a_gauge_that_fails_does_not_stop_the_others(engine: sa.Engine, database: Database) -> None:
    watch = Watch(database, every_seconds=3600.0)
    _rename(engine, "hostname_challenges", "renamed")
    try:
        with pytest.raises(Exception, match=r"hostname_challenges|does not respond"):
            watch.run()
        watch.run()
    finally:
        _rename(engine, "renamed", "hostname_challenges")

    assert watch.values("hostnames") == {}
    updated = {gauge for (gauge,) in watch.values("gauge_last_update_timestamp_seconds")}
    assert updated >= {"certificates", "cutovers", "deliveries", "terminators"}
    assert "hostnames" not in updated


def _rename(engine: sa.Engine, table: str, name: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")
