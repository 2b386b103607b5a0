"""Claims deliveries for a worker, stores results, and unblocks subsequent deliveries.

docs/decisions/0020 explains why the order is kept even if a process crashes.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Integer, and_, bindparam, func, null, select, update
from sqlalchemy.orm import aliased

from ...crypto.secret import Secret
from ...errors import Unavailable
from ...gateways.database import (
    EVERYBODY,
    BoundStatement,
    Database,
    int_param,
    text_param,
    time_param,
)
from ...models import PENDING, Delivery, Event, Webhook
from ..events.views import SHOWN, EventView, event_view
from .secrets import WebhookSecrets

# The worker must store the result within this time; an attempt takes 15 s at most.
LEASE = timedelta(seconds=60)
# How many deliveries of one certificate are sent one after another under one lease.
_BATCH_SIZE = 8

_log = logging.getLogger(__name__)


class Endpoint(NamedTuple):
    """An endpoint, and the time of the next attempt of any of its deliveries."""

    id: int
    next_attempt_at: datetime
    url: str
    user_id: int | None
    configured: bool
    failing_since: datetime | None


class ClaimedDelivery(NamedTuple):
    """A delivery that this worker has claimed.

    `attempts` is JSON. `attempt_count` is the number of attempts on the current schedule.
    `traceparent` is the span of the request that caused the event.
    """

    webhook_id: int
    ordering_key: int
    attempt_count: int
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

    @property
    def order(self) -> tuple[int, int]:
        """Returns the position of the batch in a transaction."""
        return self.deliveries[0].ordering_key, self.endpoint.id


class Outcome(NamedTuple):
    """The state of a delivery after an attempt.

    `attempts` has all attempts to show.
    """

    delivery: ClaimedDelivery
    status: str
    next_attempt_at: datetime | None
    attempt_count: int
    attempts: str


BatchResult = tuple[DeliveryBatch, Sequence[Outcome]]
_IS_OF_WEBHOOK: Any = Delivery.webhook_id == bindparam("of_webhook")
_IS_RESULT_OF = (
    _IS_OF_WEBHOOK,
    Delivery.event_id == bindparam("of_event"),
    Delivery.status == PENDING,
)


class DeliveryQueue:
    """The statements of a worker, which read and write all users' rows."""

    def __init__(
        self, database: Database, webhook_secrets: WebhookSecrets, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._secrets = webhook_secrets
        self._now = now
        # Endpoints whose secrets could not be decrypted, and the time until which they are skipped.
        self._skipped: dict[int, datetime] = {}
        self._endpoints = database.prepare(_endpoints_with_work(), tenant=None)
        self._claim = database.prepare(_claim(), tenant=None)
        self._load = database.prepare(_load(), tenant=None)
        lease = int_param("of_lease")
        stored = _stored_result()
        self._delivered = database.prepare(stored)
        # If the lease has passed to another worker, that worker stores the result.
        self._failed = database.prepare(stored.where(func.coalesce(Delivery.lease, lease) == lease))
        self._release = database.prepare(
            update(Delivery)
            .where(*_IS_RESULT_OF, Delivery.lease == lease)
            .values({Delivery.next_attempt_at: bindparam("next"), Delivery.lease: null()})
        )
        first = first_pending(bindparam("of_webhook"), bindparam("of_ordering_key"))
        self._unblock = database.prepare(
            update(Delivery)
            .where(_IS_OF_WEBHOOK, Delivery.event_id == first, Delivery.next_attempt_at.is_(None))
            .values({Delivery.next_attempt_at: bindparam("next")})
        )
        endpoint = update(Webhook).where(Webhook.id == bindparam("of_webhook"))
        self._set_failing = database.prepare(
            endpoint.where(Webhook.failing_since.is_(None)).values(failing_since=bindparam("since"))
        )
        self._set_working = database.prepare(
            endpoint.where(Webhook.failing_since.is_not(None)).values(failing_since=null())
        )

    def endpoints_with_work(self) -> list[Endpoint]:
        """Returns the endpoints with deliveries due now or later, except for skipped ones."""
        now = self._now()
        endpoints = [Endpoint(*row) for row in self._endpoints()]
        self._skipped = {key: until for key, until in self._skipped.items() if until > now}
        return [endpoint for endpoint in endpoints if endpoint.id not in self._skipped]

    def claim(self, requested: Sequence[tuple[Endpoint, int]]) -> list[DeliveryBatch]:
        """Claims due deliveries for LEASE, at most the given number of ordering keys per endpoint.

        An endpoint whose secrets cannot be decrypted is skipped for the same time. Raises
        Unavailable.
        """
        now, lease = self._now(), secrets.randbits(62)
        until = now + LEASE
        statements: list[BoundStatement] = []
        for endpoint, number in requested:
            values = {"webhook_id": endpoint.id, "lease": lease, "until": until}
            statements.append((self._claim, {**values, "now": now, "number": number}))
            statements.append((self._load, values))
            statements.append(self._secrets.rows(endpoint.id))
        # Three for each endpoint.
        results = iter(self._database.run_pipeline(EVERYBODY, *statements))
        batches: list[DeliveryBatch] = []
        for (endpoint, _), _claimed, deliveries, secret_rows in zip(
            requested, results, results, results, strict=True
        ):
            if deliveries:
                try:
                    opened = self._secrets.opened(endpoint.id, secret_rows)
                except Unavailable as error:
                    # It must not delay other endpoints.
                    _log.warning("Webhook %s postponed: %s", endpoint.id, error.detail)
                    self._skipped[endpoint.id] = until
                else:
                    batches += _batches(endpoint, lease, until, opened, deliveries)
        return batches

    def record_results(self, results: Sequence[BatchResult]) -> None:
        """Stores the results of some batches, all or none.

        A batch without an outcome is unclaimed. Raises Unavailable.
        """
        now = self._now()
        statements: list[BoundStatement] = []
        # The order is always the same, so that two workers cannot deadlock.
        for batch, outcomes in sorted(results, key=lambda result: result[0].order):
            first, values = batch.deliveries[0], {"of_webhook": batch.endpoint.id, "next": now}
            statements += [self._stored(batch, outcome) for outcome in outcomes]
            if not outcomes:
                claimed = {"of_event": first.event.id, "of_lease": batch.lease}
                statements.append((self._release, values | claimed))
            elif outcomes[-1].next_attempt_at is None:
                statements.append((self._unblock, values | {"of_ordering_key": first.ordering_key}))
        self._database.run_pipeline(EVERYBODY, *statements, *self._health(results, now))

    def _stored(self, batch: DeliveryBatch, outcome: Outcome) -> BoundStatement:
        values = {
            "of_webhook": batch.endpoint.id,
            "of_event": outcome.delivery.event.id,
            "new_status": outcome.status,
            "next": outcome.next_attempt_at,
            "new_attempt_count": outcome.attempt_count,
            "new_attempts": outcome.attempts,
        }
        if outcome.status == "delivered":
            return self._delivered, values
        return self._failed, {**values, "of_lease": batch.lease}

    def _health(self, results: Sequence[BatchResult], now: datetime) -> list[BoundStatement]:
        """Returns the statements for endpoints that started or stopped failing."""
        works: dict[int, bool] = {}
        was_failing = {batch.endpoint.id: batch.endpoint.failing_since for batch, _ in results}
        for batch, outcomes in results:
            for outcome in outcomes:
                delivered = outcome.status == "delivered"
                works[batch.endpoint.id] = works.get(batch.endpoint.id, False) or delivered
        statements: list[BoundStatement] = []
        for webhook_id, does in sorted(works.items()):
            if does and was_failing[webhook_id]:
                statements.append((self._set_working, {"of_webhook": webhook_id}))
            elif not does and not was_failing[webhook_id]:
                statements.append((self._set_failing, {"of_webhook": webhook_id, "since": now}))
        return statements


def _batches(
    endpoint: Endpoint, lease: int, until: datetime, opened: Sequence[Secret], rows: list[Any]
) -> list[DeliveryBatch]:
    by_key: dict[int, list[ClaimedDelivery]] = {}
    for key, attempt_count, attempts, trace, *event in rows:
        claimed = ClaimedDelivery(
            endpoint.id, key, attempt_count, attempts, trace, event_view(event)
        )
        by_key.setdefault(key, []).append(claimed)
    return [DeliveryBatch(endpoint, lease, until, opened, batch) for batch in by_key.values()]


def _stored_result() -> Any:
    return (
        update(Delivery)
        .where(*_IS_RESULT_OF)
        .values(
            {
                Delivery.status: text_param("new_status"),
                Delivery.next_attempt_at: time_param("next"),
                Delivery.lease: null(),
                Delivery.attempt_count: bindparam("new_attempt_count", type_=Integer),
                Delivery.attempts: text_param("new_attempts"),
            }
        )
    )


def first_pending(webhook_id: Any, ordering_key: Any) -> Any:
    """Selects the event of the first pending delivery with an ordering key."""
    before = aliased(Delivery)
    return (
        select(func.min(before.event_id))
        .where(
            before.webhook_id == webhook_id,
            before.ordering_key == ordering_key,
            before.status == PENDING,
        )
        .scalar_subquery()
    )


def unblocked(*conditions: Any) -> Any:
    """Returns the update that makes blocked deliveries due if none is before them."""
    return (
        update(Delivery)
        .where(
            *conditions,
            Delivery.status == PENDING,
            Delivery.next_attempt_at.is_(None),
            Delivery.event_id == first_pending(Delivery.webhook_id, Delivery.ordering_key),
        )
        .values({Delivery.next_attempt_at: bindparam("next")})
    )


def _endpoints_with_work() -> Any:
    """Steps from endpoint to endpoint through the index, however many deliveries each has."""
    has_due = Delivery.next_attempt_at.is_not(None)
    start: Any = select(func.min(Delivery.webhook_id).label("webhook_id")).where(has_due)
    ids = start.cte("endpoint_ids", recursive=True)
    following = aliased(Delivery)
    step = (
        select(func.min(following.webhook_id))
        .where(following.next_attempt_at.is_not(None), following.webhook_id > ids.c.webhook_id)
        .scalar_subquery()
    )
    ids = ids.union_all(select(step).where(ids.c.webhook_id.is_not(None)))
    first_due = (
        select(func.min(Delivery.next_attempt_at))
        .where(Delivery.webhook_id == ids.c.webhook_id, has_due)
        .correlate(ids)
        .scalar_subquery()
    )
    columns = (
        first_due if name == "next_attempt_at" else getattr(Webhook, name)
        for name in Endpoint._fields
    )
    return (
        select(*columns)
        .join_from(ids, Webhook, Webhook.id == ids.c.webhook_id)
        .where(Webhook.state == "active")
    )


def _claim() -> Any:
    """Claims due deliveries that are first for their ordering key, and that are not locked."""
    first = aliased(Delivery)
    webhook_id = int_param("webhook_id")
    unlocked = (
        select(first.event_id)
        .where(
            first.webhook_id == webhook_id,
            first.next_attempt_at <= time_param("now"),
            # A comparison, not NOT EXISTS: the index is used for each row, and no plan reads all
            # pending deliveries.
            first.event_id == first_pending(first.webhook_id, first.ordering_key),
        )
        .order_by(first.next_attempt_at)
        .limit(int_param("number"))
        .with_for_update(skip_locked=True)
        .cte("unlocked")
    )
    return (
        update(Delivery)
        .where(
            Delivery.webhook_id == webhook_id, Delivery.event_id.in_(select(unlocked.c.event_id))
        )
        .values({Delivery.next_attempt_at: time_param("until"), Delivery.lease: int_param("lease")})
    )


def _end_of_batch(head: Any) -> Any:
    """Selects the event before which the batch that begins with the delivery `head` ends."""
    following = aliased(Delivery)
    return (
        select(following.event_id)
        .where(
            following.webhook_id == head.webhook_id,
            following.ordering_key == head.ordering_key,
            following.status == PENDING,
        )
        .order_by(following.event_id)
        .limit(1)
        .offset(_BATCH_SIZE)
        .correlate(head)
        .scalar_subquery()
    )


def _load() -> Any:
    """Selects the claimed deliveries of a lease, and the next few with the same ordering keys.

    No other worker can claim those.
    """
    head, delivery = aliased(Delivery), aliased(Delivery)
    end = _end_of_batch(head)
    heads = (
        select(head.webhook_id, head.ordering_key, func.coalesce(end, 2**63 - 1).label("end"))
        .where(
            head.webhook_id == int_param("webhook_id"),
            head.next_attempt_at == time_param("until"),
            head.lease == int_param("lease"),
        )
        .subquery()
    )
    return (
        select(
            delivery.ordering_key,
            delivery.attempt_count,
            delivery.attempts,
            Event.traceparent,
            *(getattr(Event, name) for name in SHOWN),
        )
        .join_from(
            heads,
            delivery,
            and_(
                delivery.webhook_id == heads.c.webhook_id,
                delivery.ordering_key == heads.c.ordering_key,
                delivery.status == PENDING,
                delivery.event_id < heads.c.end,
            ),
        )
        .join(Event, Event.id == delivery.event_id)
        .order_by(delivery.event_id)
    )
