"""Webhooks in requests and responses."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...field_docs import Time, doc
from ..events.log import EVENT_TYPES, EventType

State = Literal["active", "paused", "disabled"]
_Url = Annotated[
    str,
    doc(
        "The URL to POST to; in the profile prd, https only.",
        "https://hooks.example.com/certificates",
        min_length=1,
        max_length=2000,
        pattern=r"^[!-~]+$(?!\n)",
        extra={"form": "a URL of 1 to 2000 visible ASCII characters"},
    ),
]
_Kinds = Annotated[
    list[
        Annotated[
            EventType | Literal["*"],
            Meta(extra={"form": "an event type like certificate.activated, or *"}),
        ]
    ],
    doc("The event types to send. *: all.", ["*"], min_length=1, max_length=len(EVENT_TYPES) + 1),
]
_Description = Annotated[
    str,
    doc(
        "The purpose of the webhook.",
        "The load balancers",
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)",
        extra={"form": "a string of at most 200 characters, without control characters"},
    ),
]


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """An endpoint to create."""

    url: _Url
    events: _Kinds = msgspec.field(default_factory=lambda: ["*"])
    description: _Description = ""


class WebhookChanges(msgspec.Struct, forbid_unknown_fields=True):
    """Changes to an endpoint; omitted fields are unchanged."""

    url: _Url | UnsetType = UNSET
    events: _Kinds | UnsetType = UNSET
    description: _Description | UnsetType = UNSET
    state: Annotated[
        Literal["active", "paused"] | UnsetType,
        doc(
            "paused: events are stored for it, and sent when it is active again. Set "
            "active to reactivate a disabled webhook; it then gets only new events.",
            "paused",
        ),
    ] = UNSET


class WebhookView(msgspec.Struct):
    """An endpoint, without its secret."""

    id: Annotated[int, doc("The webhook's id.", 1, ge=1)]
    user_id: Annotated[int | None, doc("The user whose events it gets. null: all users.", 1)]
    url: _Url
    events: _Kinds
    description: _Description
    state: Annotated[State, doc("disabled: it gets no events; `reason` says why.", "active")]
    reason: Annotated[str | None, doc("Why it was disabled.", None)]
    created_at: Annotated[Time, doc("When it was created.")]
    failing_since: Annotated[
        Time | None, doc("When its current run of failures began. null: deliveries succeed.")
    ]


# The columns of a row for `webhook_view`, in its order.
SHOWN = WebhookView.__struct_fields__


class NewWebhookView(WebhookView):
    """An endpoint that was just created."""

    secret: Annotated[
        str,
        doc(
            "The secret that signs its messages (Standard Webhooks). Returned only in "
            "this response.",
            "whsec_…",
        ),
    ]


class SecretView(msgspec.Struct):
    """A secret that replaces the previous one."""

    secret: Annotated[str, doc("The new secret. Returned only in this response.", "whsec_…")]
    both_sign_until: Annotated[
        Time, doc("Until then, messages are also signed with the previous secret.")
    ]


class TestView(msgspec.Struct):
    """A test event for an endpoint."""

    event_id: Annotated[int, doc("The event's id.", 1, ge=1)]


def webhook_view(row: Sequence[Any]) -> WebhookView:
    """Returns the endpoint of a row with the columns SHOWN."""
    values = dict(zip(SHOWN, row, strict=True))
    values["events"] = msgspec.Raw(values["events"].encode())  # Already JSON.
    return WebhookView(**values)
