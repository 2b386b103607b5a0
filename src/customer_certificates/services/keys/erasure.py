"""Erases deleted keys from SQLite's files by truncating the write-ahead log."""

from sqlalchemy import bindparam, select, update

from ...gateways.database import EVERYBODY, Database
from ...models import KeyDeletions


class KeyErasure:
    """Truncates the write-ahead log after deletions.

    Triggers count deletions in their transactions, so none is forgotten if a process dies, or while
    a reader prevents the truncation.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._find = database.prepare(
            select(KeyDeletions.deleted).where(KeyDeletions.deleted > KeyDeletions.erased),
            tenant=None,
        )
        self._set_erased = database.prepare(
            update(KeyDeletions)
            .where(KeyDeletions.erased < bindparam("number"))
            .values(erased=bindparam("number"))
            .returning(KeyDeletions.id)
        )

    def is_due(self) -> bool:
        """Returns whether the files may contain parts of a deleted key."""
        return bool(self._find())

    def run(self) -> int:
        """Returns 1 if the log was truncated; 0 if unnecessary, or to be retried later.

        Raises Unavailable.
        """
        rows = self._find()
        # Later deletions raise the count, and stay due.
        if not rows or not self._database.truncate_log():
            return 0
        self._database.run_pipeline(EVERYBODY, (self._set_erased, {"number": rows[0][0]}))
        return 1
