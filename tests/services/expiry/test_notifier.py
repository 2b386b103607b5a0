"""Owners are notified before certificates expire: once for each threshold."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from customer_certificates.gateways.database import Database
from customer_certificates.models import Certificate, CertificateHostname, Event, ExpiryNotice
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.events.log import Events
from customer_certificates.services.expiry.notifier import Expiry
from customer_certificates.services.expiry.upcoming import Expiring, ExpirySettings
from customer_certificates.services.revisions import Revisions

from ...tables import PRINCIPAL, add_certificates, add_users

pytestmark = pytest.mark.one_backend

END = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Calendar:
    """The job of a worker at any time; `told` has the notifications, in order."""

    def __init__(self, database: Database, engine: sa.Engine) -> None:
        self.database, self.engine = database, engine
        self.now = END - 400 * DAY
        clock = lambda: self.now  # noqa: E731
        self.expiry = Expiry(database, Events(database, clock), clock, by_mail=False)
        self.expiring = Expiring(
            database, Revisions(database, clock), Audit(database, clock), clock
        )
        (self.user,) = add_users(engine, 1)

    def add(
        self, *names: str, days: float = 90, end: datetime = END, active: bool = True, **more: Any
    ) -> int:
        """Adds a certificate with a lifetime of so many days, and returns its id."""
        columns: dict[str, Any] = {
            "active": active,
            "not_before": end - days * DAY,
            "not_after": end,
            "hostnames": json.dumps(names),
        }
        (made,) = add_certificates(self.engine, self.user, 1, **(columns | more))
        rows = [{"user_id": self.user, "hostname": name, "certificate_id": made} for name in names]
        if rows:
            with self.engine.begin() as connection:
                connection.execute(sa.insert(CertificateHostname), rows)
        return made

    def change(self, certificate_id: int, **values: Any) -> None:
        """Makes a check due, as the use cases do."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(Certificate)
                .where(Certificate.id == certificate_id)
                .values(expiry_due=self.now, **values)
            )

    def at(self, days: float) -> list[tuple[int, str]]:
        """Returns the notifications so many days before END (after it, if negative)."""
        self.now = END - days * DAY
        before = len(self.told)
        number = self.expiry.notify()
        assert number == len(self.told) - before
        return self.told[before:]

    @property
    def told(self) -> list[tuple[int, str]]:
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(ExpiryNotice.certificate_id, ExpiryNotice.threshold).order_by(
                    ExpiryNotice.id
                )
            ).all()
            events = connection.execute(sa.select(Event.certificate_id, Event.type)).all()
        kinds = {"expired": "certificate.expired"}
        assert sorted(tuple(event) for event in events) == sorted(
            (certificate, kinds.get(threshold, "certificate.expiring"))
            for certificate, threshold in rows
        )
        return [(certificate, threshold) for certificate, threshold in rows]

    def due(self, certificate_id: int) -> datetime | None:
        with self.engine.connect() as connection:
            return connection.execute(
                sa.select(Certificate.expiry_due).where(Certificate.id == certificate_id)
            ).scalar_one()


@pytest.fixture
def calendar(database: Database, engine: sa.Engine) -> Calendar:
    return Calendar(database, engine)


Told = list[tuple[float, list[str]]]


@pytest.mark.parametrize(
    ("life", "told"),
    [
        (90, [(31, []), (30, ["30d"]), (29, []), (14, ["14d"]), (7, ["7d"]), (1, ["1d"])]),
        (60, [(30, ["30d"]), (1, ["1d"])]),
        (59.9, [(19.8, []), (19.7, ["33%"]), (6, []), (5.9, ["10%"]), (1, [])]),
        (6, [(5, []), (1.9, ["33%"]), (0.6, ["10%"])]),
    ],
)
def test_each_threshold_is_notified_once(calendar: Calendar, life: float, told: Told) -> None:
    certificate = calendar.add("a.example", days=life)

    for days, thresholds in told:
        assert calendar.at(days) == [(certificate, one) for one in thresholds]
        assert calendar.at(days - 0.001) == []
    assert calendar.at(0) == []
    assert calendar.at(-0.001) == [(certificate, "expired")]
    assert calendar.due(certificate) is None


def test_after_downtime_only_the_last_threshold_is_notified(calendar: Calendar) -> None:
    certificate = calendar.add("a.example")

    assert calendar.at(6) == [(certificate, "7d")]
    assert calendar.at(-30) == [(certificate, "expired")]


def test_an_event_has_the_state_of_the_certificate(calendar: Calendar, engine: sa.Engine) -> None:
    certificate = calendar.add("a.example", fingerprint_sha256="ab" * 32)
    calendar.at(30)

    with engine.connect() as connection:
        (event,) = connection.execute(sa.select(Event)).mappings()
    assert (event["user_id"], event["certificate_id"]) == (calendar.user, certificate)
    assert (event["version"], event["active"]) == (1, True)
    assert (event["hostnames"], event["fingerprint_sha256"]) == ('["a.example"]', "ab" * 32)
    assert event["at"].replace(tzinfo=UTC) == calendar.now
    assert event["not_after"].replace(tzinfo=UTC) == END


def test_inactive_certificates_are_not_notified(calendar: Calendar) -> None:
    certificate = calendar.add("a.example", active=False)
    calendar.add("b.example", not_before=None, not_after=None)

    assert calendar.at(5) == []
    calendar.change(certificate, active=True)
    assert calendar.at(4) == [(certificate, "7d")]
    calendar.change(certificate, active=False)
    assert calendar.at(-1) == []


def test_a_new_version_is_notified_again(calendar: Calendar) -> None:
    certificate = calendar.add("a.example")

    assert calendar.at(7) == [(certificate, "7d")]
    calendar.change(certificate, not_after=END + 80 * DAY, version=2)
    assert calendar.at(-49) == []
    assert calendar.at(-50) == [(certificate, "30d")]


@pytest.mark.parametrize(
    ("names", "others", "is_told"),
    [
        (["a.example"], [["a.example"]], False),
        (["a.example"], [["b.example"]], True),
        (["a.example", "b.example"], [["a.example"]], True),
        (["a.example", "b.example"], [["a.example"], ["b.example"]], False),
        (["www.a.example"], [["*.a.example"]], False),
        (["a.example"], [["*.a.example"]], True),
        (["*.a.example"], [["www.a.example"]], True),
        (["*.a.example"], [["*.a.example"]], False),
        (["x.www.a.example"], [["*.a.example"]], True),
        (["localhost"], [["*.localhost"]], True),
        ([], [[]], True),
    ],
)
def test_a_covered_expiry_is_not_notified(
    calendar: Calendar, names: list[str], others: list[list[str]], is_told: bool
) -> None:
    certificate = calendar.add(*names)
    for other in others:
        calendar.add(*other, end=END + 60 * DAY)

    for days in (30, 1, -1):
        assert bool(calendar.at(days)) == is_told
    assert {told for told, _ in calendar.told} <= {certificate}


@pytest.mark.parametrize(
    "other",
    [{"active": False}, {"end": END}, {"end": END - DAY / 2}, {"end": END + 400 * DAY, "days": 10}],
    ids=["inactive", "at the same time", "earlier", "begins later"],
)
def test_certificates_that_do_not_cover_an_expiry(
    calendar: Calendar, other: dict[str, Any]
) -> None:
    certificate = calendar.add("a.example")
    usual: dict[str, Any] = {"end": END + 60 * DAY}
    calendar.add("a.example", **(usual | other))

    assert (certificate, "30d") in calendar.at(30)


def test_another_user_does_not_take_over(calendar: Calendar, engine: sa.Engine) -> None:
    certificate = calendar.add("a.example")
    mine, (calendar.user,) = calendar.user, add_users(engine, 1)
    calendar.add("a.example", end=END + 60 * DAY)

    assert mine != calendar.user
    assert calendar.at(30) == [(certificate, "30d")]


def test_an_expiry_that_is_no_longer_covered_is_notified(calendar: Calendar) -> None:
    certificate = calendar.add("a.example")
    other = calendar.add("a.example", end=END + 60 * DAY)

    assert calendar.at(14) == []
    calendar.change(other, active=False)
    assert calendar.at(7) == [(certificate, "7d")]


def set_thresholds(calendar: Calendar, thresholds: list[str] | None) -> None:
    settings = calendar.expiring.set(PRINCIPAL, calendar.user, ExpirySettings(thresholds), None)
    assert settings == calendar.expiring.settings(calendar.user)


def test_a_user_sets_thresholds(calendar: Calendar) -> None:
    certificate, short = calendar.add("a.example"), calendar.add("b.example", days=20)
    set_thresholds(calendar, ["45d", "50%", "45d"])

    assert calendar.at(46) == []
    assert sorted(calendar.at(44)) == [(certificate, "50%")]
    assert calendar.at(10) == [(short, "50%")]
    set_thresholds(calendar, [])
    assert calendar.at(1) == []
    set_thresholds(calendar, None)
    assert sorted(calendar.at(0.9)) == [(certificate, "1d"), (short, "10%")]
    assert len(calendar.at(-1)) == 2


def test_a_threshold_that_is_added_late_is_notified_at_once(calendar: Calendar) -> None:
    certificate = calendar.add("a.example")

    assert calendar.at(40) == []
    set_thresholds(calendar, ["45d"])
    assert calendar.at(40) == [(certificate, "45d")]
    assert calendar.due(certificate) == END + timedelta(seconds=1)


def test_a_certificate_without_expiry_is_never_notified(calendar: Calendar) -> None:
    never = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    certificate = calendar.add("a.example", end=never)

    assert calendar.at(0) == []
    assert calendar.due(certificate) == never - 30 * DAY


@pytest.mark.both_backends
def test_concurrent_workers_notify_once(calendar: Calendar, engine: sa.Engine) -> None:
    users = [calendar.user, *add_users(engine, 4)]
    for calendar.user in users:
        for number in range(5):
            calendar.add(f"{number}.example")
    calendar.now = END - 30 * DAY

    with ThreadPoolExecutor(3) as threads:
        numbers = list(threads.map(lambda _: calendar.expiry.notify(), range(3)))

    assert sum(numbers) == 25
    assert len(calendar.told) == len(set(calendar.told)) == 25


@pytest.mark.both_backends
def test_an_interrupted_run_is_repeated_by_the_next(
    calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = calendar.add("a.example")
    calendar.now = END - 30 * DAY

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Events, "calls", killed)
        with pytest.raises(KeyboardInterrupt):
            calendar.expiry.notify()

    assert calendar.told == []
    assert calendar.at(30) == [(certificate, "30d")]


def test_checks_beyond_the_limit_of_a_run_are_left_to_the_next(
    calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customer_certificates.services.expiry.notifier._MOST_CHECKS", 500)
    add_certificates(calendar.engine, calendar.user, 501, not_before=END - 90 * DAY, not_after=END)

    assert [len(calendar.at(30)) for _ in range(3)] == [500, 1, 0]


@pytest.mark.both_backends
def test_the_due_ones_are_found_by_their_index(calendar: Calendar, engine: sa.Engine) -> None:
    add_certificates(engine, calendar.user, 300, expiry_due=None)
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.begin() as connection:
        connection.execute(sa.text("ANALYZE"))
        plan = connection.execute(
            sa.text(
                f"{explain} SELECT id FROM certificates WHERE expiry_due <= '2027-01-01'"
                " AND (expiry_due, id) > ('1970-01-01', 5) ORDER BY expiry_due, id LIMIT 500"
            )
        ).all()

    assert "ix_certificates_expiry_due" in str(plan)
