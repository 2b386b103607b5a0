"""Writes the audit log, in the transaction of each recorded change."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import BigInteger, bindparam, insert, literal, select, true, update

from ...errors import Conflict, PreconditionFailed
from ...gateways.database import (
    EVERYBODY,
    BoundStatement,
    Database,
    Tenant,
    Transaction,
    text_param,
    time_param,
)
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import insert_or_lock, items_of
from ...models import AuditEntry, AuditHead
from ..idempotency import NO_KEY, IdempotentRequest
from ..principal import Principal
from ..rate_counts import Rate, RateCounts
from .hash_chain import GENESIS, Entry, canonical, hash_of

# The hourly limit of entries about rejected requests, or ones that changed nothing, for each chain
# and kind of principal.
MOST_WITHOUT_CHANGE = 100

Outcome = Literal["done", "unchanged", "refused"]


@dataclass(slots=True)
class PendingEntry:
    """The entry of a write, which `add` adds to its transaction."""

    audit: "Audit"
    session: Transaction
    principal: Principal
    action: str
    chain: int
    path: str | None

    def add(
        self,
        detail: Mapping[str, Any] | None = None,
        *,
        changed: bool = True,
        also: Sequence[BoundStatement] = (),
    ) -> None:
        """Adds the entry; see `Audit.record`. `changed`: whether the write changed anything."""
        outcome: Outcome = "done" if changed else "unchanged"
        what = (self.principal, self.action, self.chain, self.path)
        self.audit.record(self.session, *what, outcome=outcome, detail=detail, also=also)


class Audit:
    """Each user has a separate chain of entries, so that users do not wait for one another.

    A write records one entry. A rejection because of the stored state (a conflict or a failed
    precondition) is recorded in its own transaction. Invalid requests and those for missing
    resources touch nothing, and are not recorded. Requests that change nothing are limited per hour
    (MOST_WITHOUT_CHANGE), so that a user cannot fill the database with them.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._lock = database.prepare(
            insert_or_lock(AuditHead, AuditHead.chain).returning(AuditHead.seq, AuditHead.hash),
            ("chain", "seq", "hash", "at"),
        )
        self._rates = RateCounts(database, now)
        self._lock_many = database.prepare(_lock_many())
        self._move_many = database.prepare(_move_many())
        self._add = database.prepare(insert(AuditEntry), (*Entry._fields, "hash"))
        self._move = database.prepare(
            update(AuditHead).where(AuditHead.chain == bindparam("of_chain")), ("seq", "hash", "at")
        )

    @contextmanager
    def begin(
        self,
        principal: Principal,
        action: str,
        chain: int,
        path: str | None,
        idempotent: IdempotentRequest = NO_KEY,
        *,
        tenant: Tenant | None = None,
    ) -> Iterator[tuple[Transaction, PendingEntry]]:
        """Begins the transaction of a write, and claims its idempotency key.

        The block must add the entry last. A rejection is recorded; see `of_refusals`. The rows are
        those of `tenant`, by default of the chain's user.
        """
        with (
            self.of_refusals(principal, action, chain, path),
            self._database.begin(tenant or chain or EVERYBODY) as session,
        ):
            idempotent.claim(session)
            yield session, PendingEntry(self, session, principal, action, chain, path)

    def record(
        self,
        session: Transaction,
        principal: Principal,
        action: str,
        chain: int,
        object_path: str | None,
        *,
        outcome: Outcome = "done",
        detail: Mapping[str, Any] | None = None,
        also: Sequence[BoundStatement] = (),
    ) -> None:
        """Adds an entry to a chain: the id of the affected user, or hash_chain.NOBODY.

        Call it last in a transaction, because it locks the chain until the end. `also` are
        independent statements of the transaction, sent in the same round trip. `detail` must not
        contain a secret: no key, password, passphrase, token or body.
        """
        if outcome != "done" and self._is_over_limit(session, principal, chain):
            if also:
                session.run_pipeline(*also)
            return
        lock, start = self.head(chain)
        head = session.run(lock, **start)
        session.run_pipeline(
            *also,
            *self.entry(
                head, principal, action, chain, object_path, outcome=outcome, detail=detail
            ),
        )

    def _is_over_limit(self, session: Transaction, principal: Principal, chain: int) -> bool:
        # Operators' requests are counted separately, so that a user's requests do not hide them.
        name = f"audit {chain} {principal.kind}"
        rate = Rate(name, timedelta(hours=1), MOST_WITHOUT_CHANGE)
        return self._rates.add(session, [rate]) is not None

    def head(self, chain: int) -> BoundStatement:
        """Returns the statement that locks a chain, and reads the head for `entry`."""
        start = {"chain": chain, "seq": 0, "hash": GENESIS, "at": self._now()}
        return self._lock, start

    def heads(self, chains: Sequence[int]) -> BoundStatement:
        """Returns the statement that locks many chains, in the given order.

        It reads a row for each: the chain, and the head for `entry`.
        """
        return self._lock_many, {"chains": _texts(chains), "at": self._now()}

    def moved(self, chains: Sequence[int]) -> BoundStatement:
        """Returns the statement that advances the heads of many chains by one entry each.

        It replaces the first statement of `entry`.
        """
        return self._move_many, {"chains": _texts(chains)}

    def entry(
        self,
        head: list[Row],
        principal: Principal,
        action: str,
        chain: int,
        object_path: str | None,
        *,
        outcome: Outcome = "done",
        detail: Mapping[str, Any] | None = None,
    ) -> list[BoundStatement]:
        """Returns the statements that add an entry after the `head` that was just locked.

        The other parameters are those of `record`.
        """
        ((seq, last_hash),) = head
        at = self._now()
        actor = (principal.kind, principal.token_id, principal.user_id)
        request = (principal.request_id, principal.peer)
        what = (*actor, action, object_path, outcome, *request, canonical(detail or {}))
        entry = Entry(chain, seq + 1, at, *what, last_hash)
        entry_hash = hash_of(entry)
        return [
            (self._add, {**entry._asdict(), "hash": entry_hash}),
            (self._move, {"of_chain": chain, "seq": entry.seq, "hash": entry_hash, "at": at}),
        ]

    @contextmanager
    def of_refusals(
        self, principal: Principal, action: str, chain: int, object_path: str | None
    ) -> Iterator[None]:
        """Records that the stored state led to the rejection of the block.

        Raises what the block raises, or Unavailable if that cannot be recorded.
        """
        try:
            yield
        except (Conflict, PreconditionFailed) as refusal:
            if refusal.retry_after is not None:
                # The same request is still running, and is recorded itself.
                raise
            errors = (finding for finding in refusal.errors if finding.severity == "error")
            reasons = {finding.code for finding in errors} or {"precondition_failed"}
            detail = {"reasons": sorted(reasons)}
            with self._database.begin(chain or EVERYBODY) as session:
                self.record(
                    session, principal, action, chain, object_path, outcome="refused", detail=detail
                )
            raise


def _lock_many() -> Any:
    chains = items_of(text_param("chains"))
    number = chains.c.value.cast(BigInteger)
    at = time_param("at")
    start = select(number, literal(0, BigInteger), literal(GENESIS), at).where(true())
    return (
        insert_or_lock(AuditHead, AuditHead.chain)
        .from_select(["chain", "seq", "hash", "at"], start.order_by(number))
        .returning(AuditHead.chain, AuditHead.seq, AuditHead.hash)
    )


def _move_many() -> Any:
    """Advances each head to the entry that follows it."""
    chains = items_of(text_param("chains"))
    return (
        update(AuditHead)
        .values(seq=AuditEntry.seq, hash=AuditEntry.hash, at=AuditEntry.at)
        .where(
            AuditHead.chain.in_(select(chains.c.value.cast(BigInteger))),
            AuditEntry.chain == AuditHead.chain,
            AuditEntry.seq == AuditHead.seq + 1,
        )
    )


def _texts(chains: Sequence[int]) -> str:
    return canonical([str(chain) for chain in chains])
