"""Claims deliveries for a worker, stores results, and unblocks subsequent deliveries.

docs/decisions/0020 explains why the order is kept even if a process crashes.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    Text,
    and_,
    bindparam,
    func,
    null,
    select,
    update,
)
from sqlalchemy.orm import aliased

from ...crypto.secret import Secret
from ...errors import Unavailable
from ...gateways.database import EVERYBODY, BoundStatement, Database
from ...models import PENDING, Delivery, Event, Webhook
from ..events.views import SHOWN, EventView, event_view
from .secrets import WebhookSecrets

# The worker must store the result within this time; an attempt takes 15 s at most.
LEASE = timedelta(seconds=60)
# How many deliveries of one certificate are sent one after another under one lease.
_RUN = 8

_log = logging.getLogger(__name__)


class Endpoint(NamedTuple):
    """An endpoint with deliveries that are due from `due` on."""

    id: int
    due: datetime
    url: str
    user_id: int | None
    configured: bool
    failing_since: datetime | None


class ClaimedDelivery(NamedTuple):
    """A delivery that this worker has claimed.

    `attempts` is JSON. `tries` is the number of attempts on the current schedule. `traceparent` is
    the span of the request that caused the event.
    """

    webhook_id: int
    subject: int
    tries: int
    attempts: str
    traceparent: str | None
    event: EventView


@dataclass(slots=True)
class DeliveryBatch:
    """Deliveries with one ordering key to one endpoint, in order, under one lease."""

    endpoint: Endpoint
    lease: int
    until: datetime
    secrets: Sequence[Secret]
    deliveries: Sequence[ClaimedDelivery]


class Outcome(NamedTuple):
    """The state of a delivery after an attempt.

    `due` is the time of the next attempt, `attempts` has all attempts to show.
    """

    delivery: ClaimedDelivery
    status: str
    due: datetime | None
    tries: int
    attempts: str


class DeliveryQueue:
    """The statements of a worker, which read and write all users' rows."""

    def __init__(
        self, database: Database, webhook_secrets: WebhookSecrets, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._secrets = webhook_secrets
        self._now = now
        # Endpoints whose secrets could not be decrypted, and the time until which they are skipped.
        self._resting: dict[int, datetime] = {}
        self._busy = database.prepare(_busy(), tenant=None)
        self._claim = database.prepare(_claim(), tenant=None)
        self._load = database.prepare(_load(), tenant=None)
        this = (
            Delivery.webhook_id == bindparam("of_webhook"),
            Delivery.event_id == bindparam("of_event"),
            Delivery.status == PENDING,
        )
        settled: dict[Any, Any] = {
            Delivery.status: bindparam("state", type_=Text),
            Delivery.due: bindparam("next", type_=DateTime(timezone=True)),
            Delivery.lease: null(),
            Delivery.tries: bindparam("made", type_=Integer),
            Delivery.attempts: bindparam("all_attempts", type_=Text),
        }
        lease: Any = bindparam("of_lease", type_=BigInteger)
        self._delivered = database.prepare(update(Delivery).where(*this).values(settled))
        # If the lease has passed to another worker, that worker stores the result.
        self._failed = database.prepare(
            update(Delivery)
            .where(*this, func.coalesce(Delivery.lease, lease) == lease)
            .values(settled)
        )
        self._release = database.prepare(
            update(Delivery)
            .where(*this, Delivery.lease == lease)
            .values({Delivery.due: bindparam("next"), Delivery.lease: null()})
        )
        self._let_go = database.prepare(
            update(Delivery)
            .where(
                Delivery.webhook_id == bindparam("of_webhook"),
                Delivery.event_id
                == first_pending(bindparam("of_webhook"), bindparam("of_subject")),
                Delivery.due.is_(None),
            )
            .values({Delivery.due: bindparam("next")})
        )
        self._fails = database.prepare(
            update(Webhook)
            .where(Webhook.id == bindparam("of_webhook"), Webhook.failing_since.is_(None))
            .values(failing_since=bindparam("since"))
        )
        self._works = database.prepare(
            update(Webhook)
            .where(Webhook.id == bindparam("of_webhook"), Webhook.failing_since.is_not(None))
            .values(failing_since=null())
        )

    def busy(self) -> list[Endpoint]:
        """Returns the endpoints with deliveries due now or later, except for skipped ones."""
        now = self._now()
        found = [Endpoint(*row) for row in self._busy()]
        self._resting = {
            endpoint_id: until for endpoint_id, until in self._resting.items() if until > now
        }
        return [endpoint for endpoint in found if endpoint.id not in self._resting]

    def claim(self, wanted: Sequence[tuple[Endpoint, int]]) -> list[DeliveryBatch]:
        """Claims due deliveries for LEASE, at most the given number of ordering keys per endpoint.

        An endpoint whose secrets cannot be decrypted is skipped for the same time. Raises
        Unavailable.
        """
        now, lease = self._now(), secrets.randbits(62)
        until = now + LEASE
        calls: list[BoundStatement] = []
        for endpoint, number in wanted:
            this = {"webhook_id": endpoint.id, "lease": lease, "until": until}
            calls.append((self._claim, {**this, "now": now, "number": number}))
            calls.append((self._load, this))
            calls.append(self._secrets.rows(endpoint.id))
        rows = self._database.run_pipeline(EVERYBODY, *calls)
        runs: list[DeliveryBatch] = []
        for place, (endpoint, _) in enumerate(wanted):
            _, loaded, secret_rows = rows[3 * place : 3 * place + 3]
            if loaded:
                try:
                    opened = self._secrets.opened(endpoint.id, secret_rows)
                except Unavailable as error:
                    # It must not delay other endpoints.
                    _log.warning("Webhook %s postponed: %s", endpoint.id, error.detail)
                    self._resting[endpoint.id] = until
                else:
                    runs += _runs(endpoint, lease, until, opened, loaded)
        return runs

    def settle(self, settled: Sequence[tuple[DeliveryBatch, Sequence[Outcome]]]) -> None:
        """Stores the results of some batches, all or none.

        A batch without a result is unclaimed. Raises Unavailable.
        """
        now = self._now()
        calls: list[BoundStatement] = []
        # The order is always the same, so that two workers cannot deadlock.
        for run, outcomes in sorted(
            settled, key=lambda one: (one[0].deliveries[0].subject, one[0].endpoint.id)
        ):
            first, this = run.deliveries[0], {"of_webhook": run.endpoint.id, "next": now}
            calls += [self._stored(run, outcome) for outcome in outcomes]
            if not outcomes:
                place = {"of_event": first.event.id, "of_lease": run.lease}
                calls.append((self._release, this | place))
            elif outcomes[-1].due is None:
                calls.append((self._let_go, this | {"of_subject": first.subject}))
        self._database.run_pipeline(EVERYBODY, *calls, *self._health(settled, now))

    def _stored(self, run: DeliveryBatch, outcome: Outcome) -> BoundStatement:
        values = {
            "of_webhook": run.endpoint.id,
            "of_event": outcome.delivery.event.id,
            "state": outcome.status,
            "next": outcome.due,
            "made": outcome.tries,
            "all_attempts": outcome.attempts,
        }
        if outcome.status == "delivered":
            return self._delivered, values
        return self._failed, {**values, "of_lease": run.lease}

    def _health(
        self, settled: Sequence[tuple[DeliveryBatch, Sequence[Outcome]]], now: datetime
    ) -> list[BoundStatement]:
        """Returns the statements for endpoints that started or stopped failing."""
        works: dict[int, bool] = {}
        was_failing = {run.endpoint.id: run.endpoint.failing_since for run, _ in settled}
        for run, outcomes in settled:
            for outcome in outcomes:
                delivered = outcome.status == "delivered"
                works[run.endpoint.id] = works.get(run.endpoint.id, False) or delivered
        calls: list[BoundStatement] = []
        for webhook_id, does in sorted(works.items()):
            if does and was_failing[webhook_id]:
                calls.append((self._works, {"of_webhook": webhook_id}))
            elif not does and not was_failing[webhook_id]:
                calls.append((self._fails, {"of_webhook": webhook_id, "since": now}))
        return calls


def _runs(
    endpoint: Endpoint, lease: int, until: datetime, opened: Sequence[Secret], rows: list[Any]
) -> list[DeliveryBatch]:
    by_subject: dict[int, list[ClaimedDelivery]] = {}
    for subject, tries, attempts, traceparent, *event in rows:
        claimed = ClaimedDelivery(
            endpoint.id, subject, tries, attempts, traceparent, event_view(event)
        )
        by_subject.setdefault(subject, []).append(claimed)
    return [DeliveryBatch(endpoint, lease, until, opened, those) for those in by_subject.values()]


def first_pending(webhook_id: Any, subject: Any) -> Any:
    """Selects the event of the first pending delivery with an ordering key."""
    before = aliased(Delivery)
    return (
        select(func.min(before.event_id))
        .where(before.webhook_id == webhook_id, before.subject == subject, before.status == PENDING)
        .scalar_subquery()
    )


def _busy() -> Any:
    """Steps from endpoint to endpoint through the index, however many deliveries each has."""
    has_due = Delivery.due.is_not(None)
    start: Any = select(func.min(Delivery.webhook_id).label("webhook_id")).where(has_due)
    busy = start.cte("busy", recursive=True)
    following = aliased(Delivery)
    step = (
        select(func.min(following.webhook_id))
        .where(following.due.is_not(None), following.webhook_id > busy.c.webhook_id)
        .scalar_subquery()
    )
    busy = busy.union_all(select(step).where(busy.c.webhook_id.is_not(None)))
    first_due = (
        select(func.min(Delivery.due))
        .where(Delivery.webhook_id == busy.c.webhook_id, has_due)
        .correlate(busy)
        .scalar_subquery()
    )
    return (
        select(
            Webhook.id,
            first_due.label("due"),
            Webhook.url,
            Webhook.user_id,
            Webhook.configured,
            Webhook.failing_since,
        )
        .join_from(busy, Webhook, Webhook.id == busy.c.webhook_id)
        .where(Webhook.state == "active")
    )


def _claim() -> Any:
    """Claims due deliveries that are first for their ordering key; skips rows that another worker
    has locked.
    """
    due = aliased(Delivery)
    webhook_id: Any = bindparam("webhook_id", type_=BigInteger)
    free = (
        select(due.event_id)
        .where(
            due.webhook_id == webhook_id,
            due.due <= bindparam("now", type_=DateTime(timezone=True)),
            # A comparison, not NOT EXISTS: the index is used for each row, and no plan reads all
            # pending deliveries.
            due.event_id == first_pending(due.webhook_id, due.subject),
        )
        .order_by(due.due)
        .limit(bindparam("number", type_=BigInteger))
        .with_for_update(skip_locked=True)
        .cte("free")
    )
    return (
        update(Delivery)
        .where(Delivery.webhook_id == webhook_id, Delivery.event_id.in_(select(free.c.event_id)))
        .values(
            {
                Delivery.due: bindparam("until", type_=DateTime(timezone=True)),
                Delivery.lease: bindparam("lease", type_=BigInteger),
            }
        )
    )


def _load() -> Any:
    """Selects the claimed deliveries of a lease, and the next few with the same ordering keys.

    No other worker can claim those.
    """
    head, behind, delivery = aliased(Delivery), aliased(Delivery), aliased(Delivery)
    # The event before which a batch ends.
    end = (
        select(behind.event_id)
        .where(
            behind.webhook_id == head.webhook_id,
            behind.subject == head.subject,
            behind.status == PENDING,
        )
        .order_by(behind.event_id)
        .limit(1)
        .offset(_RUN)
        .correlate(head)
        .scalar_subquery()
    )
    heads = (
        select(head.webhook_id, head.subject, func.coalesce(end, 2**63 - 1).label("end"))
        .where(
            head.webhook_id == bindparam("webhook_id", type_=BigInteger),
            head.due == bindparam("until", type_=DateTime(timezone=True)),
            head.lease == bindparam("lease", type_=BigInteger),
        )
        .subquery()
    )
    return (
        select(
            delivery.subject,
            delivery.tries,
            delivery.attempts,
            Event.traceparent,
            *(getattr(Event, name) for name in SHOWN),
        )
        .join_from(
            heads,
            delivery,
            and_(
                delivery.webhook_id == heads.c.webhook_id,
                delivery.subject == heads.c.subject,
                delivery.status == PENDING,
                delivery.event_id < heads.c.end,
            ),
        )
        .join(Event, Event.id == delivery.event_id)
        .order_by(delivery.event_id)
    )
