"""Idempotent requests: the response is stored in the transaction of the change."""

import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import bindparam, func, select, update

from ..errors import Conflict, Finding, Invalid
from ..gateways.database import BoundStatement, Database, Locked, Transaction
from ..gateways.database.prepared import Row
from ..gateways.database.sql_functions import replacing
from ..models import IdempotencyRecord, User
from .batched_deletes import removal_of_oldest, remove_in_batches
from .principal import Principal
from .quotas.limits import require

T = TypeVar("T")

KEPT_FOR = timedelta(hours=24)
# Each request with a key deletes this many expired records; `purge` deletes all of them.
_REMOVED_AT_ONCE = 4
_EXPIRED: Any = IdempotencyRecord.kept_at <= bindparam("expired")


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

    Every write calls `claim` first in its transaction and `save_response` last. A response with a
    secret, such as a token, must never be stored: operations that return one use this class, not a
    request's key.
    """

    def begin(self, method: str, body: bytes, reply: Callable[[Any], Reply]) -> None:
        """Call it before anything else; `reply` describes the expected response."""

    def claim(self, session: Transaction) -> None:
        """Makes an identical request wait for the end of this transaction."""

    def save_response(self, session: Transaction, view: T) -> T:
        """Returns `view`, from which the response is made."""
        return view

    def release(self) -> None:
        """Call it at the end, after success or failure."""


NO_KEY = IdempotentRequest()


class IdempotencyStore:
    """The statements about stored responses. Errors change nothing, so they are not stored."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self.database = database
        self._now = now
        self.find = database.prepare(_find(), tenant=None)
        self.claim = database.prepare(_claim(), ("name", "digest", "kept_at", "user_id"))
        self.save = database.prepare(
            update(IdempotencyRecord).where(IdempotencyRecord.name == bindparam("of_name")),
            Reply._fields,
        )
        self._count = database.prepare(_count())
        self._remove = database.prepare(
            removal_of_oldest(IdempotencyRecord.name, _EXPIRED, IdempotencyRecord.kept_at)
        )

    def request(self, principal: Principal, path: str, key: str) -> IdempotentRequest:
        """Returns the idempotent request of `principal` with the key `key`."""
        who = principal.kind if principal.token_id is None else principal.token_id
        name = sha256(msgspec.json.encode([who, path, key])).digest()
        return _KeyedRequest(self, name, key.encode(), principal.user_id)

    def purge(self) -> int:
        """Deletes records older than 24 hours, and returns their number."""
        return remove_in_batches(self.database, self._remove, **self.times())

    def times(self) -> dict[str, datetime]:
        """Returns the time before which records have expired, as a parameter."""
        return {"expired": self._now() - KEPT_FOR}

    def housekeeping(self, user_id: int | None) -> list[BoundStatement]:
        """Returns statements that delete expired records, and count those of the user, if any."""
        times = self.times()
        remove = (self._remove, {**times, "limit": _REMOVED_AT_ONCE})
        count = (self._count, {**times, "user_id": user_id})
        return [remove] if user_id is None else [remove, count]


class _KeyedRequest(IdempotentRequest):
    """A request with a key."""

    def __init__(
        self, store: IdempotencyStore, name: bytes, key: bytes, user_id: int | None
    ) -> None:
        """`user_id` is the user who owns the token."""
        self._store = store
        self._name = name
        self._key = key
        self._user_id = user_id
        self._unlock: Callable[[], None] | None = None

    def begin(self, method: str, body: bytes, reply: Callable[[Any], Reply]) -> None:
        """Raises Replayed for a stored response, Invalid if the key was used for another request.

        Raises Conflict if the same request is running and the database cannot tell, Unavailable.
        """
        # A plain hash of a body with a password would let a reader of the database try passwords a
        # million times faster than argon2 allows. The key is not stored, and prevents this.
        self._digest = hmac.digest(self._key, method.encode() + b" " + body, "sha256")
        self._reply = reply
        try:
            self._unlock = self._store.database.hold(self._name.hex())
        except Locked:
            raise _still_running() from None
        self._replay(self._store.find(name=self._name, **self._store.times()))

    def claim(self, session: Transaction) -> None:
        """Raises the errors of `begin`, or Conflict if the same request is running."""
        times = self._store.times()
        columns = {"name": self._name, "digest": self._digest, "user_id": self._user_id}
        kept_at = times["expired"] + KEPT_FOR
        try:
            claimed = session.run_if_free(self._store.claim, **columns, kept_at=kept_at, **times)
        except Locked:
            raise _still_running() from None
        if not claimed:
            self._replay(session.run(self._store.find, name=self._name, **times))

    def save_response(self, session: Transaction, view: T) -> T:
        """Stores the response, which is committed with the transaction.

        Raises Conflict if the user's quota is exceeded. The transaction has locked the user's row,
        so the count is exact.
        """
        save = (self._store.save, {"of_name": self._name, **self._reply(view)._asdict()})
        _saved, _removed, *counted = session.run_pipeline(
            save, *self._store.housekeeping(self._user_id)
        )
        # No row: the transaction has deleted the user.
        for ((quotas, number),) in filter(None, counted):
            require(quotas, "idempotency_records", number)
        return view

    def release(self) -> None:
        """Releases the key for the next request."""
        if self._unlock:
            self._unlock()

    def _replay(self, rows: list[Row]) -> None:
        """Raises Replayed if this request has a stored response, Invalid if another one has."""
        for digest, *reply in rows:
            if hmac.compare_digest(digest, self._digest):
                raise Replayed(Reply(*reply))
            reused = Finding(
                "idempotency_key_reused",
                "Idempotency-Key",
                "Idempotency-Key repeats the key of another request.",
                "Use a new random UUID for each new request.",
            )
            detail = "This Idempotency-Key was used for another request in the last 24 hours."
            raise Invalid(detail, errors=[reused])


def _find() -> Any:
    columns = [getattr(IdempotencyRecord, name) for name in ("digest", *Reply._fields)]
    return select(*columns).where(IdempotencyRecord.name == bindparam("name"), ~_EXPIRED)


def _claim() -> Any:
    columns = (IdempotencyRecord.digest, IdempotencyRecord.kept_at, IdempotencyRecord.user_id)
    return replacing(IdempotencyRecord, IdempotencyRecord.name, columns, _EXPIRED).returning(
        IdempotencyRecord.name
    )


def _count() -> Any:
    """Selects the quotas of a user, and the number of its records."""
    user_id: Any = bindparam("user_id")
    records = select(func.count()).where(IdempotencyRecord.user_id == user_id, ~_EXPIRED)
    return select(User.quotas, records.scalar_subquery()).where(User.id == user_id)


def _still_running() -> Conflict:
    in_use = Finding(
        "idempotency_key_in_use",
        "Idempotency-Key",
        "Idempotency-Key repeats the key of a request that has not finished.",
        "Retry after the delay in Retry-After, with the same key.",
    )
    detail = "A request with this Idempotency-Key is still running."
    return Conflict(detail, errors=[in_use], retry_after=1)
