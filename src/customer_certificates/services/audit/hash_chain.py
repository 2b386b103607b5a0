"""Audit entries and their hashes, as in docs/reference/audit-log.md. Pure."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

# What the first entry of each chain has as the hash of the one before it.
GENESIS = "0" * 64
# The chain of what belongs to no user.
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
    """JSON with its keys in order and no blanks: the same content is always the same text."""
    return _encode(content).decode()


def hash_of(entry: Entry) -> str:
    """SHA-256 over the canonical JSON of an entry, in hexadecimal."""
    members: dict[str, Any] = entry._asdict()
    members["at"] = time_of(entry.at)
    # JSON already, and hashed as it is: not even a blank can be added to it unnoticed.
    members["detail"] = msgspec.Raw(entry.detail.encode())
    return sha256(_encode(members)).hexdigest()


def time_of(at: datetime) -> str:
    """A time as it is hashed and signed: RFC 3339 in UTC, always with six digits."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
