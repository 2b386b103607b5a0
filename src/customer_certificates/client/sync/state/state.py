"""The agent's state: certificates, the certificates that are served, and pending work.

The database holds no keys. It is never ahead of the files: every recorded file is in its place.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from uuid import uuid4

from .certificates import Certificates
from .database import Table, connect
from .pending import Removals, Reports, RuntimeQueue
from .refusals import Refusals
from .reservations import Reservations
from .selection import Selection


class State(Table):
    """The database of one folder, for one thread."""

    def __init__(self, file: Path) -> None:
        """Opens the database `file`. Raises sqlite3.Error.

        No other account may be able to write to `file`.
        """
        super().__init__(connect(file))
        self.certificates = Certificates(self._database)
        self.reservations = Reservations(self._database)
        self.selection = Selection(self._database)
        self.refusals = Refusals(self._database)
        self.removals = Removals(self._database)
        self.runtime_queue = RuntimeQueue(self._database)
        self.reports = Reports(self._database)
        with self.transaction():
            if not self.fact("instance"):
                self.set_fact("instance", uuid4().hex)

    def close(self) -> None:
        self._database.close()

    @property
    def instance(self) -> str:
        """The random, permanent id of the folder's agent."""
        return self.fact("instance")

    def transaction(self) -> AbstractContextManager[object]:
        """Returns a context manager for an atomic transaction."""
        return self._database

    def fact(self, name: str) -> str:
        """Returns a single value, such as the cursor of the feed. Empty if unknown."""
        return self._value("SELECT value FROM facts WHERE name = ?", name) or ""

    def set_fact(self, name: str, value: str) -> None:
        self._run("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def counts(self) -> tuple[int, int, int]:
        """Returns the number of certificates, served certificates and served hostnames."""
        # For count(DISTINCT …), SQLite would sort rows that its indices already sort.
        row = self._row(
            "SELECT (SELECT count(*) FROM certificates),"
            " (SELECT count(*) FROM (SELECT DISTINCT certificate_id FROM selected)),"
            " (SELECT count(*) FROM (SELECT DISTINCT hostname FROM selected))"
        )
        certificates, served, hostnames = row or (0, 0, 0)
        return certificates, served, hostnames
