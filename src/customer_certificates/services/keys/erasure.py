"""Deleted keys are erased from SQLite's files: the write-ahead log is truncated."""

from sqlalchemy import bindparam, select, update

from ...gateways.database import EVERYBODY, Database
from ...models import KeyDeletions


class KeyErasure:
    """Triggers count deletions in the transactions that make them, so none is forgotten when a
    process dies, or while a reader keeps the log from being truncated."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._find = database.prepare(
            select(KeyDeletions.deleted).where(KeyDeletions.deleted > KeyDeletions.erased),
            tenant=None,
        )
        self._settle = database.prepare(
            update(KeyDeletions)
            .where(KeyDeletions.erased < bindparam("number"))
            .values(erased=bindparam("number"))
            .returning(KeyDeletions.id)
        )

    def is_due(self) -> bool:
        """Whether the files may have something of a deleted key."""
        return bool(self._find())

    def run(self) -> int:
        """1 if the log was truncated; 0 if that was not due, or is to be tried again later.

        Raises Unavailable.
        """
        rows = self._find()
        # Deletions after this one are counted by a larger number, and stay due.
        if not rows or not self._database.truncate_log():
            return 0
        self._database.run_pipeline(EVERYBODY, (self._settle, {"number": rows[0][0]}))
        return 1
