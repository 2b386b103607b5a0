"""Deliveries: a worker's parts on a real database, and a receiver on a real socket."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from threading import Thread
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from falcon.testing import TestClient
from standardwebhooks import Webhook as Verifier

from customer_certificates.errors import Conflict
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.master_keys import MasterKeys
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.gateways.outbound_http import Outbound
from customer_certificates.models import Delivery, Event, User, Webhook, WebhookSecret
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.events.listing import EventPages
from customer_certificates.services.events.log import CertificateState, Events
from customer_certificates.services.webhooks import dispatcher, sender
from customer_certificates.services.webhooks.disabling import Disabling
from customer_certificates.services.webhooks.dispatcher import Dispatcher
from customer_certificates.services.webhooks.endpoints import Webhooks
from customer_certificates.services.webhooks.queue import DeliveryQueue
from customer_certificates.services.webhooks.redelivery import Redelivery, Replay
from customer_certificates.services.webhooks.secrets import WebhookSecrets
from customer_certificates.services.webhooks.sender import WebhookSender
from customer_certificates.services.webhooks.stuck_deliveries import StuckDeliveries
from customer_certificates.services.webhooks.views import NewWebhook, WebhookChanges

from ...factories import an_upload
from ...receiver import Receiver
from ...tables import PRINCIPAL, add_users
from ..challenges.parts import ROOTS

pytestmark = pytest.mark.one_backend

WAIT_SECONDS = 30


class Clock:
    """The current time, plus the time that a test adds."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self._stopped: datetime | None = None

    def stop(self) -> None:
        """Stops the clock, so that nothing becomes due because the machine is slow."""
        self._stopped = datetime.now(UTC)

    def __call__(self) -> datetime:
        return (self._stopped or datetime.now(UTC)) + self.ahead


class Told:
    """The services of webhooks, a dispatcher, and a receiver."""

    def __init__(
        self,
        database: Database,
        engine: sa.Engine,
        master_keys: MasterKeys,
        attempt_seconds: float = 2.0,
    ) -> None:
        self.clock = Clock()
        self.database, self.engine = database, engine
        self.receiver = Receiver()
        self.outbound = Outbound(
            https_only=False,
            allowed=[ip_network("127.0.0.0/8")],
            own=[],
            roots_pem=ROOTS,
            seconds=attempt_seconds,
        )
        self.events, self.audit = Events(database, self.clock), Audit(database, self.clock)
        self.secrets = WebhookSecrets(database, master_keys, self.clock)
        self.webhooks = Webhooks(
            database, self.outbound, self.secrets, self.audit, self.events, self.clock
        )
        self.redelivery = Redelivery(database, self.webhooks, self.audit, self.clock)
        self.owner, self.stranger = add_users(engine, 2)
        self.running: list[tuple[Dispatcher, Thread]] = []

    def work(self) -> Dispatcher:
        """Starts a dispatcher."""
        metrics = Metrics(None)
        dispatcher = Dispatcher(
            DeliveryQueue(self.database, self.secrets, self.clock),
            WebhookSender(self.outbound, metrics, self.clock, None),
            Disabling(self.database, self.audit, self.events),
            metrics,
            self.clock,
            poll_seconds=0.02,
        )
        thread = Thread(target=dispatcher.run)
        thread.start()
        self.running.append((dispatcher, thread))
        return dispatcher

    def rest(self) -> None:
        """Stops the dispatchers."""
        for working, thread in self.running:
            working.stop()
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()
        self.running.clear()

    def close(self) -> None:
        """Stops everything."""
        self.rest()
        self.outbound.close()
        self.secrets.close()
        self.receiver.close()

    def webhook(self, path: str = "/", user_id: int | None = None, **more: Any) -> int:
        """Creates an endpoint, by default of the owner, and returns its id."""
        new = NewWebhook(self.receiver.url + path, **more)
        return self.webhooks.create(PRINCIPAL, user_id or self.owner, new).id

    def happen(
        self, certificate_id: int = 1, user_id: int | None = None, *, notify: bool = True
    ) -> int:
        """Records an event of the owner's certificate, and returns its id."""
        user_id = user_id or self.owner
        state = CertificateState(certificate_id, 1, True, '["a.example"]', None, "f" * 64)
        with self.database.begin(user_id) as session:
            session.get(User, user_id, with_for_update=True)
            self.events.record(session, "certificate.activated", user_id, state, notify=notify)
        with self.engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.max(Event.id))).scalar_one())

    def wait(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not until():
            assert time.monotonic() < deadline, self.receiver.received[-3:]
            time.sleep(0.005)

    def statuses(self, webhook_id: int) -> list[tuple[int, str, int]]:
        """Returns the event, status and attempts of each delivery."""
        with self.engine.connect() as connection:
            return [
                (event_id, status, tries)
                for event_id, status, tries in connection.execute(
                    sa.select(Delivery.event_id, Delivery.status, Delivery.attempt_count)
                    .where(Delivery.webhook_id == webhook_id)
                    .order_by(Delivery.event_id)
                )
            ]

    def state(self, webhook_id: int) -> tuple[str, str | None]:
        view = self.webhooks.get(self.owner, webhook_id)
        return view.state, view.reason


@pytest.fixture
def told(database: Database, engine: sa.Engine, master_keys: MasterKeys) -> Iterator[Told]:
    told = Told(database, engine, master_keys)
    yield told
    told.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts are repeated without a wait."""
    monkeypatch.setattr(sender, "SCHEDULE", (timedelta(milliseconds=1),) * 9)


def test_an_event_is_signed_as_standard_webhooks_specifies(told: Told) -> None:
    new = NewWebhook(told.receiver.url + "/hook")
    webhook = told.webhooks.create(PRINCIPAL, told.owner, new)
    event_id = told.happen()
    told.work()
    told.wait(lambda: bool(told.receiver.received))

    received = told.receiver.received[0]
    assert received.headers["webhook-id"] == f"evt_{event_id}"
    assert received.headers["content-type"] == "application/json"
    body = Verifier(webhook.secret).verify(received.body.decode(), received.headers)
    assert body == msgspec.json.decode(received.body)
    assert body["type"] == "certificate.activated"
    assert body["data"] == {
        "user_id": told.owner,
        "certificate_id": 1,
        "version": 1,
        "active": True,
        "hostnames": ["a.example"],
        "not_after": None,
        "fingerprint_sha256": "f" * 64,
    }
    (shown,), _ = EventPages(told.database, told.clock).page(told.owner, 0, 10)
    assert msgspec.json.encode(shown) == received.body


@pytest.mark.both_backends
@pytest.mark.usefixtures("hasty")
def test_each_attempt_belongs_to_the_trace_of_the_request(told: Told, client: TestClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    statuses = iter([500])
    told.receiver.answer = lambda _path: (next(statuses, 200), "")
    told.webhook()
    path = f"/users/{told.owner}/certificates"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "tracestate": "other=1"}
    traced = client.simulate_post(path, json=an_upload(), headers=headers)
    client.simulate_post(path, json=an_upload("untraced.example.com"))
    told.work()
    told.wait(lambda: len(told.receiver.received) == 3)

    spans = set()
    for received in told.receiver.received:
        about = msgspec.json.decode(received.body)["data"]["certificate_id"]
        assert ("traceparent" in received.headers) is (about == traced.json["id"])
        assert "tracestate" not in received.headers
        if "traceparent" in received.headers:
            version, its_trace, span, flags = received.headers["traceparent"].split("-")
            assert (version, its_trace, flags) == ("00", trace, "01")
            spans.add(span)
    assert len(spans - {"00f067aa0ba902b7"}) == 2


def test_both_secrets_sign_for_a_day(told: Told) -> None:
    new = NewWebhook(told.receiver.url)
    webhook = told.webhooks.create(PRINCIPAL, told.owner, new)
    later = told.webhooks.new_secret(PRINCIPAL, told.owner, webhook.id)
    told.work()
    told.happen()
    told.wait(lambda: len(told.receiver.received) == 1)
    for secret in (webhook.secret, later.secret):
        received = told.receiver.received[0]
        Verifier(secret).verify(received.body.decode(), received.headers)

    told.clock.ahead = timedelta(hours=24, seconds=1)
    told.happen()
    told.wait(lambda: len(told.receiver.received) == 2)
    assert len(told.receiver.received[1].headers["webhook-signature"].split()) == 1


def test_subscriptions_select_events(told: Told) -> None:
    operators = told.webhooks.create(PRINCIPAL, None, NewWebhook(told.receiver.url + "/all"))
    told.webhook("/own")
    told.webhook("/deleted", events=["certificate.deleted"])
    told.webhook("/strangers", told.stranger)
    told.work()
    first, second = told.happen(), told.happen(2, told.stranger)
    told.happen(notify=False)

    told.wait(lambda: len(told.receiver.received) == 4)
    told.rest()
    assert sorted(told.receiver.ids("/all")) == [first, second]
    assert told.receiver.ids("/own") == [first]
    assert told.receiver.ids("/strangers") == [second]
    assert told.receiver.ids("/deleted") == []
    assert [status for _, status, _ in told.statuses(operators.id)] == ["delivered"] * 2


@pytest.mark.both_backends
@pytest.mark.usefixtures("hasty")
def test_deliveries_are_ordered_per_certificate(told: Told) -> None:
    failures = iter([500, 503, 429])
    told.receiver.answer = lambda _path: (next(failures, 200), "")
    webhook = told.webhook()
    mine = [told.happen(1) for _ in range(20)]
    told.work()

    told.wait(lambda: len(told.receiver.ids()) == 20)
    told.rest()
    assert told.receiver.ids() == mine
    assert [tries for _, _, tries in told.statuses(webhook)] == [4] + [1] * 19


def test_a_failing_certificate_holds_up_no_other(told: Told) -> None:
    told.clock.stop()
    webhook = told.webhook()
    first = told.happen(1)
    told.receiver.answer = lambda _path: (500, "")
    told.work()
    told.wait(lambda: bool(told.receiver.received))
    told.receiver.answer = lambda _path: (200, "")
    behind, others = told.happen(1), [told.happen(certificate) for certificate in range(2, 12)]

    told.wait(lambda: len(told.receiver.ids()) == 10)
    assert sorted(told.receiver.ids()) == others
    told.wait(lambda: told.statuses(webhook)[:2] == [(first, "pending", 1), (behind, "pending", 0)])
    told.clock.ahead = timedelta(seconds=7)
    told.wait(lambda: len(told.receiver.ids()) == 12)
    assert told.receiver.ids()[-2:] == [first, behind]


def test_an_endpoint_that_hangs_holds_up_no_other(told: Told) -> None:
    for certificate in range(100):
        told.happen(certificate)
    told.webhook("/hangs")
    told.webhook("/works")
    told.receiver.answer = lambda path: (0 if path == "/hangs" else 200, "")
    told.work()
    events = [told.happen(certificate) for certificate in range(100)]

    told.wait(lambda: len(told.receiver.ids("/works")) == 100)
    assert sorted(told.receiver.ids("/works")) == events


@pytest.mark.usefixtures("hasty")
def test_after_ten_attempts_a_delivery_is_dead_until_it_is_redelivered(told: Told) -> None:
    webhook = told.webhook()
    told.receiver.answer = lambda _path: (302, "Location: /elsewhere\r\n")
    dead = told.happen()
    told.work()
    told.wait(lambda: told.statuses(webhook) == [(dead, "dead", 10)])

    assert [one.path for one in told.receiver.received] == ["/"] * 10
    ((view,), _) = told.redelivery.page(told.owner, webhook, "dead", 0, 10)
    attempts = msgspec.json.decode(msgspec.json.encode(view))["attempts"]
    assert [(one["status"], one["error"], one["answer"]) for one in attempts] == [
        (302, None, "ok")
    ] * 10
    told.receiver.answer = lambda _path: (200, "")
    told.redelivery.redeliver(PRINCIPAL, told.owner, webhook, dead)
    told.wait(lambda: told.statuses(webhook) == [(dead, "delivered", 1)])
    assert {one.headers["webhook-id"] for one in told.receiver.received} == {f"evt_{dead}"}


def test_a_recovered_endpoint_is_not_disabled(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_AT_ONCE", 1)
    webhook = told.webhook()
    told.happen(1)
    told.happen(2)
    with told.engine.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=5)
        connection.execute(sa.update(Webhook).values(failing_since=long_ago))
        connection.execute(sa.update(Delivery).values(attempt_count=9))
    statuses = iter([200, 500])
    told.receiver.answer = lambda _path: (next(statuses), "")
    told.work()
    told.wait(lambda: {status for _, status, _ in told.statuses(webhook)} == {"delivered", "dead"})
    told.rest()

    with told.engine.connect() as connection:
        assert connection.execute(sa.select(Webhook.state)).scalar_one() == "active"


def test_an_endpoint_without_a_secret_delays_no_other(told: Told) -> None:
    damaged, whole = told.webhook("/damaged"), told.webhook("/whole")
    with told.engine.begin() as connection:
        of_damaged = sa.update(WebhookSecret).where(WebhookSecret.webhook_id == damaged)
        connection.execute(of_damaged.values(wrapped=b"no more"))
    told.work()
    events = [told.happen(certificate) for certificate in range(1, 31)]
    told.wait(lambda: {status for _, status, _ in told.statuses(whole)} == {"delivered"})

    assert sorted(told.receiver.ids("/whole")) == events
    assert {status for _, status, _ in told.statuses(damaged)} == {"pending"}


def test_an_unexpected_error_counts_as_an_attempt(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(told.outbound, "send", fail)
    webhook = told.webhook()
    event_id = told.happen()
    told.work()

    told.wait(lambda: told.statuses(webhook) == [(event_id, "pending", 1)])


def test_retry_after_is_honoured(told: Told) -> None:
    webhook = told.webhook()
    told.receiver.answer = lambda _path: (429, "Retry-After: 3600\r\n")
    told.happen()
    told.work()
    told.wait(lambda: [tries for _, _, tries in told.statuses(webhook)] == [1])

    ((view,), _) = told.redelivery.page(told.owner, webhook, None, 0, 10)
    assert view.next_attempt_at
    assert view.next_attempt_at > datetime.now(UTC) + timedelta(minutes=59)


def test_waits_follow_the_schedule_with_20_percent_jitter() -> None:
    for tries, wanted in enumerate(sender.SCHEDULE, 1):
        waits = [sender.wait_after(tries, None) for _ in range(50)]
        assert all(wait and 0.8 * wanted <= wait <= 1.2 * wanted for wait in waits)
        assert len(set(waits)) > 1
    assert sender.wait_after(10, None) is None
    assert sender.wait_after(1, 1000.0) == timedelta(seconds=1000)


def test_an_endpoint_that_responds_gone_is_disabled(told: Told) -> None:
    other = told.webhook("/other", events=["webhook.disabled"])
    webhook = told.webhook()
    told.receiver.answer = lambda path: (200 if path == "/other" else 410, "")
    first, second = told.happen(1), told.happen(1)
    told.work()
    told.wait(lambda: bool(told.receiver.ids("/other")))

    assert told.state(webhook) == ("disabled", "The endpoint responded with 410 Gone.")
    assert told.statuses(webhook) == [(first, "dead", 1), (second, "dead", 0)]
    told.happen(1)
    assert len(told.statuses(webhook)) == 2
    with pytest.raises(Conflict, match="disabled"):
        told.redelivery.redeliver(PRINCIPAL, told.owner, webhook, first)
    told_of = msgspec.json.decode(told.receiver.received[-1].body)
    assert told_of["type"] == "webhook.disabled"
    assert told_of["data"] == {"user_id": told.owner, "webhook_id": webhook}
    assert other != webhook


@pytest.mark.usefixtures("hasty")
def test_an_endpoint_that_fails_for_days_is_disabled(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "customer_certificates.services.webhooks.dispatcher.LONGEST_FAILING", timedelta()
    )
    webhook = told.webhook()
    told.receiver.answer = lambda _path: (500, "")
    told.happen()
    told.work()

    told.wait(lambda: told.state(webhook)[0] == "disabled")
    assert told.state(webhook)[1] == "All deliveries have failed for days."
    told.receiver.answer = lambda _path: (200, "")
    changed = told.webhooks.change(
        PRINCIPAL, told.owner, webhook, WebhookChanges(state="active"), None
    )
    assert (changed.state, changed.reason, changed.failing_since) == ("active", None, None)
    told.happen()
    told.wait(lambda: len(told.receiver.ids()) == 1)


def test_events_during_a_pause_are_delivered_afterwards(told: Told) -> None:
    webhook = told.webhook()
    waiting = told.happen(1)
    told.webhooks.change(PRINCIPAL, told.owner, webhook, WebhookChanges(state="paused"), None)
    told.work()
    events = [waiting, told.happen(1), told.happen(2)]
    later = told.webhook("/later")
    seen = told.happen(3)
    told.wait(lambda: told.receiver.ids("/later") == [seen])
    assert told.receiver.ids() == []

    told.webhooks.change(PRINCIPAL, told.owner, webhook, WebhookChanges(state="active"), None)
    told.wait(lambda: len(told.receiver.ids()) == 4)
    assert sorted(told.receiver.ids()) == sorted([*events, seen])
    assert later


def test_a_replay_includes_events_from_before_the_endpoint(told: Told) -> None:
    events = [told.happen(1), told.happen(2)]
    told.happen(1, notify=False)
    told.happen(5, told.stranger)
    webhook = told.webhook()
    events += [told.happen(1), told.happen(1)]
    told.work()
    told.wait(lambda: told.receiver.ids() == events[2:])
    # Before that, they are still being told.
    told.wait(lambda: {status for _, status, _ in told.statuses(webhook)} == {"delivered"})

    replayed = told.redelivery.replay(PRINCIPAL, told.owner, webhook, Replay(0, events[-2]))
    assert (replayed.count, replayed.last) == (3, None)
    told.wait(lambda: len(told.receiver.ids()) == 5)
    assert sorted(told.receiver.ids()[2:]) == events[:3]
    certificate_1 = [one for one in told.receiver.ids()[2:] if one != events[1]]
    assert certificate_1 == [events[0], events[2]]


@pytest.mark.both_backends
def test_a_redelivery_waits_for_its_turn(told: Told) -> None:
    """It does not count as late in the meantime."""
    webhook = told.webhook()
    events = [told.happen(1), told.happen(1), told.happen(1)]

    def dues() -> list[bool]:
        deliveries, _ = told.redelivery.page(told.owner, webhook, None, 0, 10)
        return [one.next_attempt_at is not None for one in deliveries]

    told.redelivery.redeliver(PRINCIPAL, told.owner, webhook, events[1])
    assert dues() == [True, False, False]
    told.work()
    told.wait(lambda: told.receiver.ids() == events)
    told.rest()
    told.redelivery.redeliver(PRINCIPAL, told.owner, webhook, events[2])
    assert dues() == [False, False, True]
    told.redelivery.redeliver(PRINCIPAL, told.owner, webhook, events[0])
    assert dues() == [True, False, False]
    told.redelivery.redeliver(PRINCIPAL, told.owner, webhook, events[0])
    assert dues() == [True, False, False]
    told.work()
    told.wait(lambda: told.receiver.ids()[3:] == [events[0], events[2]])


@pytest.mark.both_backends
def test_a_dead_worker_does_not_block_others(told: Told) -> None:
    webhook = told.webhook()
    events = [told.happen(1), told.happen(1)]
    deliveries = DeliveryQueue(told.database, told.secrets, told.clock)
    (run,) = deliveries.claim([(endpoint, 10) for endpoint in deliveries.endpoints_with_work()])
    assert [one.event.id for one in run.deliveries] == events
    assert deliveries.claim([(endpoint, 10) for endpoint in deliveries.endpoints_with_work()]) == []

    told.clock.ahead = timedelta(seconds=61)
    told.work()
    told.wait(lambda: told.receiver.ids() == events)
    assert [status for _, status, _ in told.statuses(webhook)]


@pytest.mark.both_backends
def test_deliveries_that_were_stuck_at_a_resumption_are_released(told: Told) -> None:
    told.webhook()
    left = told.happen()
    with told.engine.begin() as connection:
        connection.execute(sa.update(Delivery).values(next_attempt_at=None))
    told.work()
    assert StuckDeliveries(told.database, told.clock).release() == 1
    told.wait(lambda: told.receiver.ids() == [left])


@pytest.mark.both_backends
def test_events_and_deliveries_are_purged_after_90_days(told: Told) -> None:
    webhook, pages = told.webhook(), EventPages(told.database, told.clock)
    told.happen()
    assert pages.purge() == 0
    told.clock.ahead = timedelta(days=90, seconds=1)
    kept = told.happen()

    assert pages.purge() == 1
    assert [view.id for view in pages.page(told.owner, 0, 10)[0]] == [kept]
    assert [event for event, _, _ in told.statuses(webhook)] == [kept]


def test_a_stopping_worker_releases_unsent_deliveries(told: Told) -> None:
    webhook = told.webhook()
    for certificate in range(200):
        told.happen(certificate)
    dispatcher = told.work()
    told.wait(lambda: bool(told.receiver.received))
    dispatcher.stop()
    told.rest()

    taken = len(told.receiver.ids())
    with told.engine.connect() as connection:
        leased = connection.execute(
            sa.select(sa.func.count()).where(Delivery.lease.is_not(None))
        ).scalar_one()
    statuses = [status for _, status, _ in told.statuses(webhook)]
    assert (leased, statuses.count("delivered")) == (0, taken)
    told.work()
    told.wait(lambda: len(told.receiver.ids()) == 200)
    assert len(set(told.receiver.ids())) == 200
