"""Verifies that the audit log is unchanged."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, bindparam, cast, select, true

from ...gateways.database import Database, int_param
from ...gateways.database.prepared import Row
from ...models import AuditEntry, AuditHead
from .hash_chain import GENESIS, Entry, hash_of
from .signed_heads import SignedHead

_BATCH = 1000
_COLUMNS = (*Entry._fields, "hash")
# Clocks differ, and an entry has the time of its creation, not of its commit.
_ALLOWANCE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place at which a chain was changed."""

    chain: int
    seq: int
    what: str


@dataclass(slots=True)
class Report:
    """The result: `chains` and `entries` are the numbers of those verified."""

    chains: int = 0
    entries: int = 0
    faults: list[Fault] = field(default_factory=list)


class _Broken(Exception):  # noqa: N818
    """The number of an entry, and how it is at fault."""


class AuditVerification:
    """Reads chains from their beginning. May run while the service runs."""

    def __init__(self, database: Database) -> None:
        chain: Any = cast(int_param("chain"), BigInteger)
        limit = int_param("limit")
        chains = select(chain.label("chain")).subquery()
        entries = (
            select(*(getattr(AuditEntry, name) for name in _COLUMNS))
            .where(AuditEntry.chain == chain, AuditEntry.seq > bindparam("after"))
            .order_by(AuditEntry.seq)
            .limit(limit)
            .subquery()
        )
        # One statement, because an entry that is added between two would look like a fault.
        self._page = database.prepare(
            select(AuditHead.seq, AuditHead.hash, AuditHead.at, entries)
            .select_from(chains)
            .outerjoin(AuditHead, AuditHead.chain == chains.c.chain)
            .outerjoin(entries, true())
            .order_by(entries.c.seq),
            tenant=None,
        )
        both = [
            select(
                select(column)
                .where(column > int_param("after"))
                .distinct()
                .order_by(column)
                .limit(limit)
                .subquery()
            )
            for column in (AuditHead.chain, AuditEntry.chain)
        ]
        union = both[0].union(both[1]).subquery()
        self._chains = database.prepare(
            select(union.c.chain).order_by(union.c.chain).limit(limit), tenant=None
        )

    def run(self, chain: int | None, heads: Iterable[SignedHead]) -> Report:
        """Verifies one chain, or all; `heads` are their signed heads with valid signatures."""
        signed: dict[int, dict[int, SignedHead]] = {}
        report = Report()
        for head in heads:
            of_chain = signed.setdefault(head.chain, {})
            other = of_chain.setdefault(head.seq, head)
            if other.hash != head.hash and chain in (None, head.chain):
                what = "Two heads with different hashes were signed for this entry."
                report.faults.append(Fault(head.chain, head.seq, what))
            if other.at < head.at:
                of_chain[head.seq] = head
        chains = self._all(signed) if chain is None else [chain]
        for number in chains:
            report.chains += 1
            try:
                report.entries += self._read(number, signed.get(number, {}))
            except _Broken as broken:
                report.faults.append(Fault(number, *broken.args))
        return report

    def _all(self, signed: Iterable[int]) -> Iterator[int]:
        """Yields the chains in the database, by number, then those with only a signed head."""
        left = set(signed)
        after = -1
        while rows := self._chains(after=after, limit=_BATCH):
            for (after,) in rows:
                left.discard(after)
                yield after
        yield from sorted(left)

    def _read(self, chain: int, signed: dict[int, SignedHead]) -> int:
        """Returns the number of entries. Raises _Broken."""
        seq, last_hash, last_at = 0, GENESIS, None
        newest = signed[max(signed)] if signed else None
        while True:
            try:
                rows = self._page(chain=chain, after=seq, limit=_BATCH)
                head, entries = rows[0][:3], [row[3:] for row in rows if row[3] is not None]
                for row in entries:
                    last_at = _require_next(row, seq, last_hash)
                    seq, last_hash = seq + 1, row[-1]
                    _require_signed(seq, last_hash, last_at, signed, newest)
            except (ValueError, TypeError, AttributeError):
                raise _Broken(seq + 1, "The entry cannot be read.") from None
            if len(entries) < _BATCH:
                break
        if newest and newest.seq > seq:
            raise _Broken(
                seq + 1, f"Entries are missing: {newest.seq} existed when the head was signed."
            )
        if head != ((seq, last_hash, last_at) if seq else (None, None, None)):
            raise _Broken(seq, "The chain does not end at its head.")
        return seq


def _require_next(row: Row, seq: int, last_hash: str) -> datetime:
    entry, entry_hash = Entry(*row[:-1]), row[-1]
    if entry.seq != seq + 1:
        raise _Broken(seq + 1, "The entry is missing.")
    if entry.prev_hash != last_hash:
        raise _Broken(entry.seq, "The entry does not follow the previous entry.")
    if hash_of(entry) != entry_hash:
        raise _Broken(entry.seq, "The entry was changed.")
    return entry.at


def _require_signed(
    seq: int,
    entry_hash: str,
    at: datetime,
    signed: dict[int, SignedHead],
    newest: SignedHead | None,
) -> None:
    if seq in signed and signed[seq].hash != entry_hash:
        raise _Broken(seq, "The entry is not the one that was signed: the chain was rewritten.")
    if newest and seq > newest.seq and at < datetime.fromisoformat(newest.at) - _ALLOWANCE:
        raise _Broken(
            seq, "The entry claims to be older than a signed head that does not include it."
        )
