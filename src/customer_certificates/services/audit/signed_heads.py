"""Signed heads: the last entry of each chain at an export, to be kept elsewhere.

A writer to the database can rewrite a chain with matching hashes. The signed heads reveal this,
unless the writer can change them, too.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import bindparam, select

from ...crypto.ed25519 import Signer, Verifier
from ...gateways.database import Database, int_param
from ...models import AuditHead
from .hash_chain import canonical, time_of

_SIGNED = "cc/audit-head/v1\n"
_BATCH = 1000
# A change that was in progress during an export has a time before it.
_UNDER_WAY = timedelta(minutes=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class SignedHead(msgspec.Struct, frozen=True):
    """The last entry `seq` of the chain at the time `at`, with its hash."""

    chain: int
    seq: int
    hash: str
    at: str
    signature: str


class AuditHeads:
    """Signs heads for an export."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        self._page = database.prepare(
            select(AuditHead.chain, AuditHead.seq, AuditHead.hash)
            .where(AuditHead.chain > bindparam("after"), AuditHead.at >= bindparam("since"))
            .order_by(AuditHead.chain)
            .limit(int_param("limit")),
            tenant=None,
        )

    def signed(self, signer: Signer, last: datetime | None) -> Iterator[str]:
        """Yields a line for each chain with entries since `last`; for all chains if None."""
        at = time_of(self._now())
        since = last - _UNDER_WAY if last else _LONG_AGO
        after = -1
        while rows := self._page(after=after, since=since, limit=_BATCH):
            for after, seq, entry_hash in rows:
                head = SignedHead(after, seq, entry_hash, at, "")
                signature = signer.sign(_content(head))
                signed = msgspec.structs.replace(head, signature=signature)
                yield canonical(msgspec.structs.asdict(signed))


def heads_of(lines: Iterable[str], verifier: Verifier) -> tuple[list[SignedHead], list[str]]:
    """Returns the heads in these lines, and the lines without a valid signature."""
    heads, unsigned = list[SignedHead](), list[str]()
    for line in lines:
        try:
            head = msgspec.json.decode(line, type=SignedHead)
        except msgspec.DecodeError:
            unsigned.append(line)
            continue
        if verifier.holds(head.signature, _content(head)):
            heads.append(head)
        else:
            unsigned.append(line)
    return heads, unsigned


def _content(head: SignedHead) -> bytes:
    members = {"chain": head.chain, "seq": head.seq, "hash": head.hash, "at": head.at}
    return (_SIGNED + canonical(members)).encode()
