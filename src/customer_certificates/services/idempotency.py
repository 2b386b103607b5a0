"""Idempotent requests: the response is stored in the transaction of the change."""

import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import BigInteger, bindparam, delete, func, select, update

from ..errors import Conflict, Finding, Invalid
from ..gateways.database import Database, Locked, Transaction
from ..gateways.database.prepared import Row
from ..gateways.database.sql_functions import replacing
from ..models import IdempotencyRecord, User
from .batched_deletes import remove_in_batches
from .principal import Principal
from .quotas.limits import require

T = TypeVar("T")

KEPT_FOR = timedelta(hours=24)
# Each request with a key deletes this many expired records; `purge` deletes all of them.
_REMOVED_AT_ONCE = 4


class Reply(NamedTuple):
    """A response: `location` is the resource's path, `tag` its entity tag."""

    status: int
    body: bytes | None = None
    location: str | None = None
    tag: str | None = None


class Replayed(Exception):  # noqa: N818 - it is an answer
    """Raised with the stored response to an earlier, identical request."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("replayed response")
        self.reply = reply


class IdempotentRequest:
    """A request without a key, which is executed each time.

    Every write calls `claim` first in its transaction and `keep` last. A response with a secret,
    such as a token, must never be stored: operations that return one use this class, not a
    request's key.
    """

    def begin(self, method: str, body: bytes, reply: Callable[[Any], Reply]) -> None:
        """Call it before anything else; `reply` describes the expected response."""

    def claim(self, session: Transaction) -> None:
        """Makes an identical request wait for the end of this transaction."""

    def keep(self, session: Transaction, view: T) -> T:
        """Returns `view`, from which the response is made."""
        return view

    def end(self) -> None:
        """Call it at the end, after success or failure."""


NO_KEY = IdempotentRequest()


class IdempotencyStore:
    """The statements about stored responses. Errors are never stored, because they
    changed nothing.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        kept = [getattr(IdempotencyRecord, name) for name in ("digest", *Reply._fields)]
        expired: Any = IdempotencyRecord.kept_at <= bindparam("expired")
        self._find = database.prepare(
            select(*kept).where(
                IdempotencyRecord.name == bindparam("name"),
                IdempotencyRecord.kept_at > bindparam("expired"),
            ),
            tenant=None,
        )
        self._claim = database.prepare(
            replacing(
                IdempotencyRecord,
                IdempotencyRecord.name,
                (IdempotencyRecord.digest, IdempotencyRecord.kept_at, IdempotencyRecord.user_id),
                expired,
            ).returning(IdempotencyRecord.name),
            ("name", "digest", "kept_at", "user_id"),
        )
        self._keep = database.prepare(
            update(IdempotencyRecord).where(IdempotencyRecord.name == bindparam("of_name")),
            Reply._fields,
        )
        user_id: Any = bindparam("user_id")
        mine = select(func.count()).where(
            IdempotencyRecord.user_id == user_id, IdempotencyRecord.kept_at > bindparam("expired")
        )
        self._used = database.prepare(
            select(User.quotas, mine.scalar_subquery()).where(User.id == user_id)
        )
        oldest = (
            select(IdempotencyRecord.name)
            .where(expired)
            .order_by(IdempotencyRecord.kept_at)
            .limit(bindparam("limit", type_=BigInteger))
            # Two transactions that delete the same records must not wait for one another.
            .with_for_update(skip_locked=True)
        )
        self._remove = database.prepare(
            delete(IdempotencyRecord)
            .where(IdempotencyRecord.name.in_(oldest))
            .returning(IdempotencyRecord.name)
        )
        self._database = database

    def once(self, caller: Principal, path: str, key: str) -> IdempotentRequest:
        """Returns the idempotent request of `caller` with the key `key`."""
        who = caller.kind if caller.token_id is None else caller.token_id
        name = sha256(msgspec.json.encode([who, path, key])).digest()
        return _Repeatable(self, name, key.encode(), caller.user_id)

    def clean(self) -> int:
        """Deletes records older than 24 hours, and returns their number."""
        return remove_in_batches(self._database, self._remove, expired=self._expired())

    def hold(self, name: bytes) -> Callable[[], None]:
        """Acquires the lock of a request, and returns the function that releases it.

        Raises Conflict if another process holds it too long, Unavailable.
        """
        try:
            return self._database.hold(name.hex())
        except Locked:
            raise _still_running() from None

    def find(self, name: bytes, digest: bytes) -> None:
        """Raises Replayed if this request has a stored response, Invalid if another one has."""
        _answer_again(self._find(name=name, expired=self._expired()), digest)

    def claim(self, session: Transaction, name: bytes, digest: bytes, user_id: int | None) -> None:
        """Claims the name in this transaction; it counts for the user's quota.

        Raises Replayed or Invalid as `find` does, or Conflict if another transaction holds the name
        too long.
        """
        now = self._now()
        expired = now - KEPT_FOR
        values = {
            "name": name,
            "digest": digest,
            "kept_at": now,
            "user_id": user_id,
            "expired": expired,
        }
        try:
            claimed = session.run_if_free(self._claim, **values)
        except Locked:
            raise _still_running() from None
        if not claimed:
            _answer_again(session.run(self._find, name=name, expired=expired), digest)

    def keep(self, session: Transaction, name: bytes, reply: Reply, user_id: int | None) -> None:
        """Stores the response for a claimed name.

        Raises Conflict if the user's quota is exceeded. The transaction has locked the user's row,
        so the count is exact.
        """
        expired = self._expired()
        calls = [
            (self._keep, {"of_name": name, **reply._asdict()}),
            (self._remove, {"expired": expired, "limit": _REMOVED_AT_ONCE}),
        ]
        if user_id is not None:
            calls.append((self._used, {"user_id": user_id, "expired": expired}))
        _kept, _removed, *used = session.run_pipeline(*calls)
        # No row: the transaction has deleted the user.
        for ((quotas, number),) in filter(None, used):
            require(quotas, "idempotency_records", number)

    def _expired(self) -> datetime:
        return self._now() - KEPT_FOR


class _Repeatable(IdempotentRequest):
    """A request with a key."""

    def __init__(
        self, repeats: IdempotencyStore, name: bytes, key: bytes, user_id: int | None
    ) -> None:
        """`user_id` is the user who owns the token."""
        self._repeats = repeats
        self._name = name
        self._key = key
        self._user_id = user_id
        self._let_go: Callable[[], None] | None = None

    def begin(self, method: str, body: bytes, reply: Callable[[Any], Reply]) -> None:
        """Raises Replayed for a stored response, Invalid if the key was used for another request.

        Raises Conflict if the same request is running and the database cannot tell.
        """
        # A plain hash of a body with a password would let a reader of the database try passwords a
        # million times faster than argon2 allows. The key is not stored, and prevents this.
        self._digest = hmac.digest(self._key, method.encode() + b" " + body, "sha256")
        self._reply = reply
        self._let_go = self._repeats.hold(self._name)
        self._repeats.find(self._name, self._digest)

    def claim(self, session: Transaction) -> None:
        """Raises the errors of `begin`, or Conflict if the same request is running."""
        self._repeats.claim(session, self._name, self._digest, self._user_id)

    def keep(self, session: Transaction, view: T) -> T:
        """Stores the response, which is committed with the transaction."""
        self._repeats.keep(session, self._name, self._reply(view), self._user_id)
        return view

    def end(self) -> None:
        """Releases the key for the next request."""
        if self._let_go:
            self._let_go()


def _answer_again(rows: list[Row], digest: bytes) -> None:
    for of, *reply in rows:
        if not hmac.compare_digest(of, digest):
            raise Invalid(
                "This Idempotency-Key was used for another request in the last 24 hours.",
                errors=[
                    Finding(
                        "idempotency_key_reused",
                        "Idempotency-Key",
                        "Idempotency-Key repeats the key of another request.",
                        "Use a new random UUID for each new request.",
                    )
                ],
            )
        raise Replayed(Reply(*reply))


def _still_running() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is still running.",
        errors=[
            Finding(
                "idempotency_key_in_use",
                "Idempotency-Key",
                "Idempotency-Key repeats the key of a request that has not finished.",
                "Retry after the delay in Retry-After, with the same key.",
            )
        ],
        retry_after=1,
    )
