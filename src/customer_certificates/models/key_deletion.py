"""Counts deleted keys, and those already erased from the database's files."""

from sqlalchemy import DDL, BigInteger, Integer, event
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base
from .data_key import UserDataKey
from .private_key import PrivateKey
from .webhook import WebhookSecret


class KeyDeletions(Base):
    """One row with two counters.

    On SQLite, triggers increment `deleted` in the transaction that deletes or replaces a key.
    `erased` follows once the write-ahead log was truncated. PostgreSQL does not use it.
    """

    __tablename__ = "key_deletions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    deleted: Mapped[int] = mapped_column(BigInteger)
    erased: Mapped[int] = mapped_column(BigInteger)


_COUNT = (
    "CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN "
    "INSERT INTO key_deletions (id, deleted, erased) VALUES (1, 1, 0) "
    "ON CONFLICT (id) DO UPDATE SET deleted = deleted + 1; END"
)
for _column in (
    PrivateKey.__table__.c.sealed,
    UserDataKey.__table__.c.wrapped,
    WebhookSecret.__table__.c.wrapped,
):
    for _name, _event in (("deleted", "DELETE"), ("updated", f"UPDATE OF {_column.name}")):
        _statement = _COUNT.format(table=_column.table.name, name=_name, event=_event)
        _trigger = DDL(_statement).execute_if(dialect="sqlite")
        event.listen(_column.table, "after_create", _trigger)
