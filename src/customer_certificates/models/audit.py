"""The audit log: entries chained by hashes, and the end of each chain."""

from datetime import datetime

from sqlalchemy import BigInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id


class AuditEntry(Base):
    """An entry of the audit log.

    It has no foreign key: it outlives its user. `chain` is the ID of the user whose audit log this
    is, or 0. `seq` counts from 1 in each chain. `object` is the path of the changed resource.
    `detail` is canonical JSON. `hash` covers every other column, so any change is detected
    (services/audit/hash_chain.py).
    """

    __tablename__ = "audit"

    chain: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor_kind: Mapped[str]
    actor_token_id: Mapped[int | None] = mapped_column(Id)
    actor_user_id: Mapped[int | None] = mapped_column(Id)
    action: Mapped[str]
    object: Mapped[str | None]
    outcome: Mapped[str]
    request_id: Mapped[str]
    peer: Mapped[str]
    detail: Mapped[str]
    prev_hash: Mapped[str]
    hash: Mapped[str]


class AuditHead(Base):
    """The last entry of a chain. The lock on this row puts a chain's entries in order."""

    __tablename__ = "audit_heads"

    chain: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(Id)
    hash: Mapped[str]
    at: Mapped[datetime]


class AuditExport(Base):
    """The newest export of a series, the heads of one folder."""

    __tablename__ = "audit_exports"

    series: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str]
    at: Mapped[datetime]
