"""Webhooks in requests and responses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..events.log import EVENT_TYPES, EventType

State = Literal["active", "paused", "disabled"]
_Time = Annotated[datetime, Meta(tz=True)]
_Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2000,
        pattern=r"^[!-~]+$(?!\n)",
        extra={"form": "a URL of 1 to 2000 visible ASCII characters"},
        description="The URL to POST to; in the profile prd, https only.",
        examples=["https://hooks.example.com/certificates"],
    ),
]
_Kinds = Annotated[
    list[
        Annotated[
            EventType | Literal["*"],
            Meta(extra={"form": "an event type like certificate.activated, or *"}),
        ]
    ],
    Meta(
        min_length=1,
        max_length=len(EVENT_TYPES) + 1,
        description="The event types to send. *: all.",
        examples=[["*"]],
    ),
]
_Description = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)",
        extra={"form": "at most 200 characters, without control characters"},
        description="The purpose of the webhook.",
        examples=["The load balancers"],
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
        Meta(
            description="paused: events are stored for it, and sent when it is active again. Set "
            "active to reactivate a disabled webhook; it then gets only new events.",
            examples=["paused"],
        ),
    ] = UNSET


class WebhookView(msgspec.Struct):
    """An endpoint, without its secret."""

    id: Annotated[int, Meta(ge=1, description="The webhook's id.", examples=[1])]
    user_id: Annotated[
        int | None,
        Meta(description="The user whose events it gets. null: all users.", examples=[1]),
    ]
    url: _Url
    events: _Kinds
    description: _Description
    state: Annotated[
        State,
        Meta(description="disabled: it gets no events; `reason` says why.", examples=["active"]),
    ]
    reason: Annotated[str | None, Meta(description="Why it was disabled.", examples=[None])]
    created_at: Annotated[_Time, Meta(description="When it was created.")]
    failing_since: Annotated[
        _Time | None,
        Meta(description="When its current run of failures began. null: deliveries succeed."),
    ]


# The columns of a row for `webhook_view`, in its order.
SHOWN = WebhookView.__struct_fields__


class NewWebhookView(WebhookView):
    """An endpoint that was just created."""

    secret: Annotated[
        str,
        Meta(
            description="The secret that signs its messages (Standard Webhooks). Returned only in "
            "this response.",
            examples=["whsec_…"],
        ),
    ]


class SecretView(msgspec.Struct):
    """A secret that replaces the previous one."""

    secret: Annotated[
        str,
        Meta(description="The new secret. Returned only in this response.", examples=["whsec_…"]),
    ]
    both_sign_until: Annotated[
        _Time, Meta(description="Until then, messages are also signed with the previous secret.")
    ]


class TestView(msgspec.Struct):
    """A test event for an endpoint."""

    event_id: Annotated[int, Meta(ge=1, description="The event's id.", examples=[1])]


def webhook_view(row: Sequence[Any]) -> WebhookView:
    """Returns the endpoint of a row with the columns SHOWN."""
    values = dict(zip(SHOWN, row, strict=True))
    values["events"] = msgspec.Raw(values["events"].encode())  # Already JSON.
    return WebhookView(**values)
