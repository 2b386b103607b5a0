"""What comes in and is shown of webhooks."""

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
        description="Where to POST to; https only in the profile prd.",
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
        description="What to tell of; * for all.",
        examples=[["*"]],
    ),
]
_Description = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)",
        extra={"form": "at most 200 characters, without control characters"},
        description="What it is for.",
        examples=["The load balancers"],
    ),
]
# The columns of a row that `webhook_view` reads, in its order.
SHOWN = (
    "id",
    "user_id",
    "url",
    "events",
    "description",
    "state",
    "reason",
    "created_at",
    "failing_since",
)


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """An endpoint to be told."""

    url: _Url
    events: _Kinds = msgspec.field(default_factory=lambda: ["*"])
    description: _Description = ""


class WebhookChanges(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of an endpoint; what is left out stays."""

    url: _Url | UnsetType = UNSET
    events: _Kinds | UnsetType = UNSET
    description: _Description | UnsetType = UNSET
    state: Annotated[
        Literal["active", "paused"] | UnsetType,
        Meta(
            description="paused: what happens is kept for it, and sent once it is active again. "
            "active also for one that was disabled: it hears of what happens from then on.",
            examples=["paused"],
        ),
    ] = UNSET


class WebhookView(msgspec.Struct):
    """An endpoint, without its secret."""

    id: Annotated[int, Meta(ge=1, description="The endpoint's id.", examples=[1])]
    user_id: Annotated[
        int | None, Meta(description="Whose events it hears of; null: all users'.", examples=[1])
    ]
    url: _Url
    events: _Kinds
    description: _Description
    state: Annotated[
        State,
        Meta(description="disabled: it is told no more; `reason` says why.", examples=["active"]),
    ]
    reason: Annotated[str | None, Meta(description="Why it was disabled.", examples=[None])]
    created_at: Annotated[_Time, Meta(description="When it was made.")]
    failing_since: Annotated[
        _Time | None, Meta(description="Since when it has taken nothing; null: it works.")
    ]


class NewWebhookView(WebhookView):
    """An endpoint that was just made."""

    secret: Annotated[
        str,
        Meta(
            description="What its messages are signed with (Standard Webhooks); shown this once.",
            examples=["whsec_…"],
        ),
    ]


class SecretView(msgspec.Struct):
    """A secret in place of the one before."""

    secret: Annotated[str, Meta(description="Shown this once.", examples=["whsec_…"])]
    both_sign_until: Annotated[
        _Time, Meta(description="Until then messages are signed with the one before as well.")
    ]


class TestView(msgspec.Struct):
    """An event that was made to try an endpoint."""

    event_id: Annotated[int, Meta(ge=1, description="The event's id.", examples=[1])]


def webhook_view(row: Sequence[Any]) -> WebhookView:
    """The endpoint of a row with the columns SHOWN."""
    values = dict(zip(SHOWN, row, strict=True))
    values["events"] = msgspec.Raw(values["events"].encode())  # JSON already
    return WebhookView(**values)
