"""Events in responses and webhooks, which have the same form."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...field_docs import Time, doc
from .log import EventType

_ID = Annotated[int, Meta(ge=1)]


class EventData(msgspec.Struct, omit_defaults=True):
    """The resource that the event is about, as it was then. Never a key or a certificate's text."""

    user_id: Annotated[
        _ID | UnsetType, doc("The user that owns it. Absent if it belongs to no user.")
    ] = UNSET
    certificate_id: Annotated[_ID | UnsetType, doc("The certificate's id.")] = UNSET
    version: Annotated[int | UnsetType, doc("The version of the certificate.")] = UNSET
    active: Annotated[bool | UnsetType, doc("Whether it is active.")] = UNSET
    hostnames: Annotated[list[str] | UnsetType, doc("The hostnames of the certificate.")] = UNSET
    not_after: Annotated[Time | UnsetType | None, doc("When it expires. null: unknown.")] = UNSET
    fingerprint_sha256: Annotated[
        str | UnsetType | None, doc("SHA-256 of the certificate (DER). null: unknown.")
    ] = UNSET
    webhook_id: Annotated[_ID | UnsetType, doc("The webhook's id.")] = UNSET


# The columns of a row for `event_view`, in its order.
SHOWN = ("id", "type", "at", *EventData.__struct_fields__)


class EventView(msgspec.Struct):
    """An event, as in responses and webhooks."""

    id: Annotated[int, doc("The event's id. Ids only increase.", 1, ge=1)]
    type: Annotated[EventType, doc("The type of the event.", "certificate.activated")]
    timestamp: Annotated[Time, doc("When it happened.", "2026-11-25T09:30:00Z")]
    data: Annotated[EventData, doc("The resource that the event is about, as it was then.")]


def event_view(row: Sequence[Any]) -> EventView:
    """Returns the event of a row with the columns SHOWN."""
    event_id, kind, at, user_id, certificate_id, version, active, hostnames, *rest = row
    not_after, fingerprint, webhook_id = rest
    data = EventData(user_id=user_id or UNSET, webhook_id=webhook_id or UNSET)
    if certificate_id is not None:
        data.certificate_id = certificate_id
        data.version = version
        data.active = active
        data.hostnames = msgspec.Raw(hostnames.encode())  # pyrefly: ignore[bad-assignment] # JSON already
        data.not_after = not_after
        data.fingerprint_sha256 = fingerprint
    elif hostnames is not None:
        data.hostnames = msgspec.Raw(hostnames.encode())  # pyrefly: ignore[bad-assignment] # JSON already
    return EventView(event_id, kind, at, data)
