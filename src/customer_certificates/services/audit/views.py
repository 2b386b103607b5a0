"""Audit entries in responses."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ...gateways.database.prepared import Row
from .hash_chain import Entry, time_of

_HASH = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

# The columns of a row for `audit_view`, in its order.
SHOWN = (*Entry._fields, "hash")
_AT, _DETAIL = SHOWN.index("at"), SHOWN.index("detail")


class AuditView(msgspec.Struct):
    """An audit entry. Its hash covers all other members; see docs/reference/audit-log.md."""

    chain: Annotated[
        int, Meta(ge=0, description="The user's id. 0: the entry belongs to no user.", examples=[1])
    ]
    seq: Annotated[int, Meta(ge=1, description="1, 2, 3, … without gaps.", examples=[1])]
    at: Annotated[
        str,
        Meta(
            description="When it happened, always with microseconds.",
            examples=["2026-11-25T09:30:00.000000Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ]
    actor_kind: Annotated[
        str,
        Meta(
            description="The actor: a token's kind, `open` for any client of a service without "
            "credentials, `command` for the command line.",
            examples=["open"],
        ),
    ]
    actor_token_id: Annotated[
        int | None, Meta(description="The id of the actor's token, if any.", examples=[None])
    ]
    actor_user_id: Annotated[
        int | None, Meta(description="The user that owned the token.", examples=[None])
    ]
    action: Annotated[
        str, Meta(description="The requested action.", examples=["certificate.upload"])
    ]
    object: Annotated[
        str | None,
        Meta(
            description="The path of the affected resource.", examples=["/users/1/certificates/1"]
        ),
    ]
    outcome: Annotated[
        str,
        Meta(
            description="done: the change was made. unchanged: nothing had to change. refused: the "
            "stored state did not allow it.",
            examples=["done"],
        ),
    ]
    request_id: Annotated[
        str, Meta(description="The request's X-Request-Id.", examples=["5f0c2a9be1d34478"])
    ]
    peer: Annotated[str, Meta(description="The client's IP address.", examples=["127.0.0.1"])]
    detail: Annotated[
        dict[str, Any], Meta(description="More details of the action.", examples=[{"active": True}])
    ]
    prev_hash: Annotated[
        str,
        Meta(
            description="`hash` of the previous entry. 64 zeros for the first one.",
            examples=["0" * 64],
        ),
    ]
    hash: Annotated[
        str, Meta(description="SHA-256 of all fields above, in hexadecimal.", examples=[_HASH])
    ]


def audit_view(row: Row) -> AuditView:
    """Returns the entry of a row with the columns SHOWN."""
    values = list(row)
    values[_AT] = time_of(values[_AT])
    # Already JSON.
    values[_DETAIL] = msgspec.Raw(values[_DETAIL].encode())
    return AuditView(*values)
