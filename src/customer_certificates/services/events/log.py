"""Records events in the transaction of the change (docs/reference/events.md)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import bindparam, case, false, func, insert, literal, select

from ...gateways.database import (
    BoundStatement,
    Database,
    Transaction,
    int_param,
    text_param,
    time_param,
)
from ...gateways.database.sql_functions import announce, as_json, items_of, this_transaction
from ...models import PENDING, Certificate, Delivery, Event, Webhook
from . import trace_context

EventType = Literal[
    "certificate.created",
    "certificate.activated",
    "certificate.deactivated",
    "certificate.replaced",
    "certificate.rolled_back",
    "certificate.scheduled",
    "certificate.schedule_canceled",
    "certificate.cutover_failed",
    "certificate.deleted",
    "certificate.expiring",
    "certificate.expired",
    "certificate.served",
    "hostname.released",
    "hostname.transferred",
    "hostname.contested",
    "hostname.contest_closed",
    "hostname.proof_missing",
    "hostname.verified",
    "user.email_verified",
    "user.password_changed",
    "user.deleted",
    "webhook.disabled",
    "webhook.test",
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
# Only the feed reads it: another user's action changed the hostnames that the user's certificates
# are served for.
HOSTNAMES_CHANGED = "certificate.hostnames_changed"


class CertificateState(NamedTuple):
    """The state of a certificate; `hostnames` is JSON."""

    id: int
    version: int
    active: bool
    hostnames: str
    not_after: datetime | None
    fingerprint_sha256: str | None


_COLUMNS = ("user_id", "type", "at", "certificate_id", *CertificateState._fields[1:])
_COLUMNS += ("webhook_id", "notify", "traceparent")
_NO_VALUES: dict[str, Any] = dict.fromkeys(_COLUMNS)


def state_of(certificate: Certificate) -> CertificateState:
    """Returns the state of a certificate object."""
    return CertificateState(*(getattr(certificate, name) for name in CertificateState._fields))


class Events:
    """Records events as rows, with a delivery for each subscribed endpoint.

    All are committed with the change, so nothing is lost.

    The transaction must have locked the row of the event's user: that lock orders a user's events.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        self._insert = database.prepare(
            insert(Event).values(xid=this_transaction()).returning(Event.id, announce()), _COLUMNS
        )
        self._deactivate = database.prepare(_deactivated())
        self._fan_out = database.prepare(_fan_out())

    def deactivated_with_user(self, user_id: int) -> BoundStatement:
        """Returns the statement that records the deactivation of all certificates of a user.

        Use it before deleting the user. These events are only logged, not delivered.
        """
        return self._deactivate, {"user_id": user_id, "at": self._now()}

    def record(
        self,
        session: Transaction,
        kind: EventType,
        user_id: int,
        certificate: CertificateState | None = None,
        *,
        notify: bool = True,
    ) -> None:
        """Adds an event of the user; without `notify`, it is not delivered."""
        session.run_pipeline(*self.calls(kind, user_id, certificate, notify=notify))

    def record_test(self, session: Transaction, user_id: int, webhook_id: int) -> int:
        """Adds a test event for an endpoint, and returns its id. Creates no delivery."""
        calls = self.calls("webhook.test", user_id, notify=False, webhook_id=webhook_id)
        ((event_id, _),) = session.run_pipeline(*calls)[0]
        return int(event_id)

    def calls(
        self,
        kind: EventType,
        user_id: int,
        certificate: CertificateState | None = None,
        *,
        notify: bool = True,
        webhook_id: int | None = None,
        hostname: str | None = None,
    ) -> list[BoundStatement]:
        """Returns the statements of `record`, for a transaction that combines them with others."""
        now = self._now()
        values = {
            **_NO_VALUES,
            "user_id": user_id,
            "type": kind,
            "at": now,
            "webhook_id": webhook_id,
            "hostnames": hostname and as_json([hostname]),
            "notify": notify,
            "traceparent": trace_context.span(),
        }
        if certificate is not None:
            values |= certificate._asdict()
            values["certificate_id"] = values.pop("id")
        if not notify:
            return [(self._insert, values)]
        ordering_key = certificate.id if certificate is not None else -user_id
        deliveries = {"user_id": user_id, "type": kind, "ordering_key": ordering_key, "now": now}
        return [(self._insert, values), (self._fan_out, deliveries)]


def _deactivated() -> Any:
    """Inserts an event for each active certificate of a user."""
    as_they_are = ("version", "hostnames", "not_after", "fingerprint_sha256")
    return insert(Event).from_select(
        ["xid", "user_id", "type", "at", "certificate_id", "active", "notify", *as_they_are],
        select(
            this_transaction(),
            Certificate.user_id,
            literal("certificate.deactivated"),
            time_param("at"),
            Certificate.id,
            false(),
            false(),
            *(getattr(Certificate, name) for name in as_they_are),
        ).where(Certificate.user_id == bindparam("user_id"), Certificate.active),
    )


def _fan_out() -> Any:
    """Inserts a delivery of the user's newest event to each subscribed endpoint.

    It is due at once, unless another one with the same ordering key is before it. The lock on the
    last of those serializes this with a worker that stores its result. Either this statement sees
    the result, or the worker sees the new delivery.
    """
    user_id = int_param("user_id")
    kind = text_param("type")
    ordering_key = int_param("ordering_key")
    # Another user's transaction may have added a HOSTNAMES_CHANGED event after it.
    newest = select(func.max(Event.id)).where(Event.user_id == user_id, Event.type == kind)
    endpoints = _subscribed(user_id, kind)
    before = (
        select(Delivery.event_id)
        .where(
            Delivery.webhook_id == endpoints.c.id,
            Delivery.ordering_key == ordering_key,
            Delivery.status == PENDING,
        )
        .order_by(Delivery.event_id.desc())
        .limit(1)
        .with_for_update(read=True)
        .correlate(endpoints)
        .exists()
    )
    now = time_param("now")
    next_attempt_at = case((~before & (endpoints.c.state == "active"), now))
    return insert(Delivery).from_select(
        ["webhook_id", "event_id", "user_id", "ordering_key", "next_attempt_at"],
        select(endpoints.c.id, newest.scalar_subquery(), user_id, ordering_key, next_attempt_at),
    )


def _subscribed(user_id: Any, kind: Any) -> Any:
    """Selects the endpoints by id, so that two transactions lock in the same order."""
    types = items_of(Webhook.events)
    is_subscribed = select(types.c.value).where(types.c.value.in_([literal("*"), kind])).exists()
    return (
        select(Webhook.id, Webhook.state)
        .where(
            (Webhook.user_id == user_id) | Webhook.user_id.is_(None),
            Webhook.state != "disabled",
            is_subscribed,
        )
        .order_by(Webhook.id)
        .subquery()
    )
