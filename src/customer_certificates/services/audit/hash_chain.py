"""Audit entries and their hashes (docs/reference/audit-log.md). Pure."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

# The previous hash of the first entry of each chain.
GENESIS = "0" * 64
# The chain of entries that belong to no user.
NOBODY = 0

_encode = msgspec.json.Encoder(order="sorted").encode


class Entry(NamedTuple):
    """An entry without its hash; the fields are the columns of the table, in its order."""

    chain: int
    seq: int
    at: datetime
    actor_kind: str
    actor_token_id: int | None
    actor_user_id: int | None
    action: str
    object: str | None
    outcome: str
    request_id: str
    peer: str
    detail: str
    prev_hash: str


def canonical(content: object) -> str:
    """Returns JSON with sorted keys and no white space: equal content gives equal text."""
    return _encode(content).decode()


def hash_of(entry: Entry) -> str:
    """Returns the SHA-256 of the canonical JSON of an entry, in hexadecimal."""
    members: dict[str, Any] = entry._asdict()
    members["at"] = time_of(entry.at)
    # Already JSON, and hashed unchanged: even added white space is detected.
    members["detail"] = msgspec.Raw(entry.detail.encode())
    return sha256(_encode(members)).hexdigest()


def time_of(at: datetime) -> str:
    """Returns a time in the hashed and signed form: RFC 3339 in UTC with microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
