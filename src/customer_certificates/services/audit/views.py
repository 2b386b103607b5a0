"""Audit entries in responses."""

from typing import Annotated, Any

import msgspec

from ...field_docs import doc
from ...gateways.database.prepared import Row
from .hash_chain import Entry, time_of

_HASH = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

# The columns of a row for `audit_view`, in its order.
SHOWN = (*Entry._fields, "hash")
_AT, _DETAIL = SHOWN.index("at"), SHOWN.index("detail")


class AuditView(msgspec.Struct):
    """An audit entry. Its hash covers all other members; see docs/reference/audit-log.md."""

    chain: Annotated[int, doc("The user's id. 0: the entry belongs to no user.", 1, ge=0)]
    seq: Annotated[int, doc("1, 2, 3, … without gaps.", 1, ge=1)]
    at: Annotated[
        str,
        doc(
            "When it happened, always with microseconds.",
            "2026-11-25T09:30:00.000000Z",
            extra_json_schema={"format": "date-time"},
        ),
    ]
    actor_kind: Annotated[
        str,
        doc(
            "The actor: a token's kind, `open` for any client of a service without credentials, "
            "`command` for the command line.",
            "open",
        ),
    ]
    actor_token_id: Annotated[int | None, doc("The id of the actor's token, if any.", None)]
    actor_user_id: Annotated[int | None, doc("The user that owned the token.", None)]
    action: Annotated[str, doc("The requested action.", "certificate.upload")]
    object: Annotated[
        str | None, doc("The path of the affected resource.", "/users/1/certificates/1")
    ]
    outcome: Annotated[
        str,
        doc(
            "done: the change was made. unchanged: nothing had to change. refused: the "
            "stored state did not allow it.",
            "done",
        ),
    ]
    request_id: Annotated[str, doc("The request's X-Request-Id.", "5f0c2a9be1d34478")]
    peer: Annotated[str, doc("The client's IP address.", "127.0.0.1")]
    detail: Annotated[dict[str, Any], doc("More details of the action.", {"active": True})]
    prev_hash: Annotated[
        str, doc("`hash` of the previous entry. 64 zeros for the first one.", "0" * 64)
    ]
    hash: Annotated[str, doc("SHA-256 of all fields above, in hexadecimal.", _HASH)]


def audit_view(row: Row) -> AuditView:
    """Returns the entry of a row with the columns SHOWN."""
    values = list(row)
    values[_AT] = time_of(values[_AT])
    # Already JSON.
    values[_DETAIL] = msgspec.Raw(values[_DETAIL].encode())
    return AuditView(*values)
