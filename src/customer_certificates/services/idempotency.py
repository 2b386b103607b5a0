"""Requests that can be repeated: what was answered is kept, in the transaction that it answers."""

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
# Each request with a key removes so many that are older; `purge` removes all of them.
_REMOVED_AT_ONCE = 4


class Reply(NamedTuple):
    """What is answered: `location` is where it is, `tag` its entity tag."""

    status: int
    body: bytes | None = None
    location: str | None = None
    tag: str | None = None


class Replayed(Exception):  # noqa: N818 - it is an answer
    """It was done already; this was the answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("replayed response")
        self.reply = reply


class IdempotentRequest:
    """A request without a key: done as often as it comes.

    Whatever writes calls `claim` first in its transaction and `keep` last. An answer that has a
    secret, such as a token, must never be kept: whoever gives one out is not given a request's
    Once, but this one.
    """

    def begin(self, method: str, body: bytes, reply: Callable[[Any], Reply]) -> None:
        """To be called before anything is done; `reply` says what will be answered."""

    def claim(self, session: Transaction) -> None:
        """Makes a second one wait for the end of this transaction."""

    def keep(self, session: Transaction, view: T) -> T:
        """Gives `view`, of which the answer is made."""
        return view

    def end(self) -> None:
        """To be called when all is done, well or not."""


NO_KEY = IdempotentRequest()


class IdempotencyStore:
    """The statements about kept answers. Refusals are never kept: they changed nothing."""

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
            # Two that remove the same ones must not wait for one another.
            .with_for_update(skip_locked=True)
        )
        self._remove = database.prepare(
            delete(IdempotencyRecord)
            .where(IdempotencyRecord.name.in_(oldest))
            .returning(IdempotencyRecord.name)
        )
        self._database = database

    def once(self, caller: Principal, path: str, key: str) -> IdempotentRequest:
        """For a request of `caller` with the key `key`."""
        who = caller.kind if caller.token_id is None else caller.token_id
        name = sha256(msgspec.json.encode([who, path, key])).digest()
        return _Repeatable(self, name, key.encode(), caller.user_id)

    def clean(self) -> int:
        """Removes all that is older than 24 hours, and says how many they were."""
        return remove_in_batches(self._database, self._remove, expired=self._expired())

    def hold(self, name: bytes) -> Callable[[], None]:
        """Has one request alone carry it out, until what is given is called. Raises Conflict where
        another is doing so and does not end, Unavailable."""
        try:
            return self._database.hold(name.hex())
        except Locked:
            raise _still_running() from None

    def find(self, name: bytes, digest: bytes) -> None:
        """Raises Replayed where it was answered, Invalid where something else was."""
        _answer_again(self._find(name=name, expired=self._expired()), digest)

    def claim(self, session: Transaction, name: bytes, digest: bytes, user_id: int | None) -> None:
        """Takes the name for this transaction; it counts for the user. Raises Replayed or Invalid
        as `find` does, Conflict where another transaction has it and does not end."""
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
        """The answer for a name that was claimed. Raises Conflict if it is one more than the user
        may have: the transaction has locked the user's row, so this is exact."""
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
        """`user_id` is the user whose token asks."""
        self._repeats = repeats
        self._name = name
        self._key = key
        self._user_id = user_id
        self._let_go: Callable[[], None] | None = None

    def begin(self, method: str, body: bytes, reply: Callable[[Any], Reply]) -> None:
        """Raises Replayed where it was answered before, Invalid where something else was; Conflict
        where the same request is being carried out, and the database would not tell."""
        # A plain hash of a body that has a password would let a reader of the database try
        # passwords at a million times the speed of argon2; the key, which is not stored, does not.
        self._digest = hmac.digest(self._key, method.encode() + b" " + body, "sha256")
        self._reply = reply
        self._let_go = self._repeats.hold(self._name)
        self._repeats.find(self._name, self._digest)

    def claim(self, session: Transaction) -> None:
        """Raises as `begin`, or Conflict where the same request is being carried out."""
        self._repeats.claim(session, self._name, self._digest, self._user_id)

    def keep(self, session: Transaction, view: T) -> T:
        """Keeps the answer; it is there when the transaction is."""
        self._repeats.keep(session, self._name, self._reply(view), self._user_id)
        return view

    def end(self) -> None:
        """Lets the next one with the key begin."""
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
