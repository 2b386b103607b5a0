"""Shows an endpoint's deliveries, and redelivers events."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import (
    Select,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)

from ...errors import NotFound
from ...field_docs import Time, doc
from ...gateways.database import EVERYBODY, Database, int_param
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import insert_new, items_of
from ...models import PENDING, Delivery, Event, Webhook
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit
from ..events.log import EventType
from ..idempotency import NO_KEY, IdempotentRequest
from ..pages import Page, page_of
from ..principal import Principal
from .disabling import webhook_path
from .endpoints import Webhooks, locked_webhook, require_active
from .queue import first_pending, unblocked
from .sender import AttemptView

Status = Literal["pending", "delivered", "dead"]
_STATUSES: tuple[Status | None, ...] = (None, "pending", "delivered", "dead")
_MOST_REPLAYED = 10_000
_Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class DeliveryView(msgspec.Struct):
    """One event for one endpoint."""

    event_id: Annotated[int, doc("The event's id.", 1, ge=1)]
    type: Annotated[EventType, doc("The type of the event.")]
    certificate_id: Annotated[int | None, doc("The certificate, if the event is about one.")]
    status: Annotated[Status, doc("pending: waiting for an attempt. dead: given up.", "delivered")]
    next_attempt_at: Annotated[
        Time | None,
        doc("When the next attempt is made. null: never, or not before an earlier event."),
    ]
    attempts: Annotated[list[AttemptView], doc("All attempts, the first one first.")]


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """The range of events to replay."""

    after: Annotated[_Id, doc("Replay events with a greater id.", 0)]
    until: Annotated[
        _Id | None, doc("Replay events up to this id. null: up to the last one.", None)
    ] = None


class ReplayView(msgspec.Struct):
    """The replayed events."""

    count: Annotated[int, doc("The number of replayed events.", 3, ge=0)]
    last: Annotated[
        int | None,
        doc(
            "The last replayed event, if there are more: one request replays at most "
            "10,000. Send it as `after` in the next request. null: all were replayed.",
            None,
        ),
    ]


class Redelivery:
    """The use cases of deliveries. `user_id` is the endpoint's owner, None for an operator's.

    A redelivery keeps its `webhook-id` and its position: later events about the same certificate
    wait for it.
    """

    def __init__(
        self, database: Database, webhooks: Webhooks, audit: Audit, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._audit = audit
        self._now = now
        self._pages = {status: database.prepare(_page(status)) for status in _STATUSES}
        self._newest = {status: database.prepare(_newest(status)) for status in _STATUSES}
        self._event_ids = database.prepare(_event_ids())
        self._restart = database.prepare(_restart())
        self._add_missing = database.prepare(_missing())
        unleased = (Delivery.webhook_id == bindparam("webhook_id"), Delivery.lease.is_(None))
        # Deliveries that now have others before them wait, and do not count as late.
        self._block = database.prepare(
            update(Delivery)
            .where(
                *unleased,
                Delivery.status == PENDING,
                Delivery.next_attempt_at.is_not(None),
                Delivery.event_id != first_pending(Delivery.webhook_id, Delivery.ordering_key),
            )
            .values(next_attempt_at=null())
        )
        self._unblock = database.prepare(unblocked(*unleased))
        self._unblock_one = database.prepare(
            unblocked(*unleased, Delivery.event_id == int_param("event_id"))
        )

    def page(
        self, user_id: int | None, webhook_id: int, status: Status | None, after: int, limit: int
    ) -> Page[DeliveryView]:
        """Returns a page of deliveries by event. Raises NotFound."""
        self._webhooks.get(user_id, webhook_id)
        values = {"webhook_id": webhook_id, "after": after, "limit": limit + 1}
        (rows,) = self._database.run_pipeline(user_id or EVERYBODY, (self._pages[status], values))
        return page_of(rows, limit, _view, "event_id")

    def newest(
        self, user_id: int | None, webhook_id: int, status: Status | None, before: int, limit: int
    ) -> Page[DeliveryView]:
        """Returns a page of deliveries of events before `before`, newest first.

        Its `next_after` is the `before` of the next page. The caller has read the endpoint.
        """
        values = {"webhook_id": webhook_id, "before": before, "limit": limit + 1}
        (rows,) = self._database.run_pipeline(user_id or EVERYBODY, (self._newest[status], values))
        return page_of(rows, limit, _view, "event_id")

    def redeliver(
        self,
        principal: Principal,
        user_id: int | None,
        webhook_id: int,
        event_id: int,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> None:
        """Redelivers the event to the endpoint, on a new schedule.

        A pending delivery is sent at once, unless it waits for another. Raises NotFound, Conflict
        (the endpoint is not active).
        """
        path = webhook_path(user_id, webhook_id)
        owner = user_id or NOBODY
        write = self._audit.begin(principal, "webhook.redeliver", owner, path, idempotent)
        with write as (session, entry):
            webhook = locked_webhook(session, user_id, webhook_id)
            delivery = session.get(Delivery, (webhook_id, event_id), with_for_update=True)
            if delivery is None:
                raise NotFound(f"Webhook {webhook_id} has no delivery of event {event_id}.")
            require_active(webhook)
            if delivery.lease is None:
                delivery.status, delivery.attempt_count = "pending", 0
                delivery.next_attempt_at = None
                session.flush()
                session.run(self._block, webhook_id=webhook_id)
                session.run(
                    self._unblock_one, webhook_id=webhook_id, event_id=event_id, next=self._now()
                )
            entry.add({"event_id": event_id})
            idempotent.save_response(session, None)

    def replay(
        self,
        principal: Principal,
        user_id: int | None,
        webhook_id: int,
        events: Replay,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> ReplayView:
        """Replays a range of events to the endpoint, including those it never got.

        Raises NotFound, Conflict (the endpoint is not active).
        """
        until = 2**63 - 1 if events.until is None else events.until
        bounds = {"webhook_id": webhook_id, "after": events.after, "until": until}
        path = webhook_path(user_id, webhook_id)
        write = self._audit.begin(principal, "webhook.replay", user_id or NOBODY, path, idempotent)
        with write as (session, entry):
            require_active(locked_webhook(session, user_id, webhook_id))
            # Reads one more than the limit, to see whether there are more.
            rows = session.run(self._event_ids, **bounds, limit=_MOST_REPLAYED + 1)
            replayed = [event_id for (event_id,) in rows[:_MOST_REPLAYED]]
            bounds["until"] = last = replayed[-1] if replayed else events.after
            session.run(self._restart, **bounds)
            session.run(self._add_missing, **bounds)
            session.run(self._block, webhook_id=webhook_id)
            session.run(self._unblock, webhook_id=webhook_id, next=self._now())
            entry.add({"after": events.after, "until": last, "count": len(replayed)})
            view = ReplayView(len(replayed), last if len(rows) > _MOST_REPLAYED else None)
            return idempotent.save_response(session, view)


def _page(status: Status | None) -> Select[*tuple[Any, ...]]:
    after = Delivery.event_id > bindparam("after")
    return _deliveries(status).where(after).order_by(Delivery.event_id)


def _newest(status: Status | None) -> Select[*tuple[Any, ...]]:
    before = Delivery.event_id < bindparam("before")
    return _deliveries(status).where(before).order_by(Delivery.event_id.desc())


def _deliveries(status: Status | None) -> Select[*tuple[Any, ...]]:
    conditions = []
    if status:
        # Not a parameter: see PENDING.
        conditions.append(Delivery.status == literal_column(f"'{status}'", Text))
    event = (Delivery.event_id, Event.type, Event.certificate_id)
    next_attempt_at = case((Delivery.status == PENDING, Delivery.next_attempt_at), else_=null())
    return (
        select(*event, Delivery.status, next_attempt_at, Delivery.attempts)
        .join(Event, Event.id == Delivery.event_id)
        .where(Delivery.webhook_id == bindparam("webhook_id"), *conditions)
        .limit(int_param("limit"))
    )


def _is_in_range(event_id: Any) -> Any:
    return and_(event_id > int_param("after"), event_id <= int_param("until"))


def _is_subscribed() -> Any:
    """Returns the condition of events in a range that an endpoint subscribes to."""
    types = items_of(Webhook.events)
    return and_(
        Webhook.id == int_param("webhook_id"),
        or_(Webhook.user_id.is_(None), Webhook.user_id == Event.user_id),
        _is_in_range(Event.id),
        Event.notify,
        select(types.c.value).where(types.c.value.in_(["*", Event.type])).exists(),
    )


def _event_ids() -> Any:
    return (
        select(Event.id)
        .join(Webhook, _is_subscribed())
        .order_by(Event.id)
        .limit(int_param("limit"))
    )


def _restart() -> Any:
    """Restarts the schedule of the deliveries in a range that are not pending."""
    return (
        update(Delivery)
        .where(
            Delivery.webhook_id == bindparam("webhook_id"),
            _is_in_range(Delivery.event_id),
            Delivery.status != PENDING,
        )
        .values(status="pending", attempt_count=0, next_attempt_at=null(), lease=null())
    )


def _missing() -> Any:
    """Inserts a delivery for each of these events that has none yet."""
    ordering_key = func.coalesce(Event.certificate_id, -Event.user_id)
    return insert_new(Delivery).from_select(
        ["webhook_id", "event_id", "user_id", "ordering_key"],
        select(Webhook.id, Event.id, Event.user_id, ordering_key)
        .select_from(Event)
        .join(Webhook, _is_subscribed())
        .where(Event.id > 0),
    )


def _view(row: Row) -> DeliveryView:
    event_id, kind, certificate_id, status, due, attempts = row
    attempt_views: Any = msgspec.Raw(attempts.encode())  # Already JSON.
    return DeliveryView(event_id, kind, certificate_id, status, due, attempt_views)
