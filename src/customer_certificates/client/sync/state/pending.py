"""Pending work: files to remove, updates of a running server, and reports."""

import json
from collections.abc import Collection, Iterable

from .certificates import Placed
from .database import Table


class Removals(Table):
    """Unused files. A reader may still open them for a while."""

    def schedule(self, paths: Iterable[str], at: float) -> None:
        """Schedules the removal of `paths` at the time `at` (seconds since 1970)."""
        self._database.executemany(
            "INSERT OR REPLACE INTO leftovers VALUES (?, ?)", [(path, at) for path in paths]
        )

    def cancel(self, paths: Iterable[str]) -> None:
        """Cancels the removal of `paths`."""
        self._run_each("DELETE FROM leftovers WHERE path = ?", paths)

    def until(self, now: float) -> list[str]:
        """Returns the paths to remove by the time `now`."""
        return self._column("SELECT path FROM leftovers WHERE due <= ?", now)

    def next_at(self) -> float | None:
        """Returns the time of the next removal, or None."""
        at: float | None = self._value("SELECT min(due) FROM leftovers")
        return at


class RuntimeQueue(Table):
    """Paths of files that a running server must read again."""

    def add(self, paths: Iterable[str]) -> None:
        self._run_each("INSERT OR IGNORE INTO unsent VALUES (?)", paths)

    def paths(self) -> list[str]:
        return self._column("SELECT path FROM unsent")

    def remove(self, path: str) -> None:
        self._run("DELETE FROM unsent WHERE path = ?", path)

    def is_empty(self) -> bool:
        return self._row("SELECT 1 FROM unsent LIMIT 1") is None

    def clear(self) -> None:
        self._run("DELETE FROM unsent")


class Reports(Table):
    """Certificates whose change was not reported to the service yet."""

    def add(self, certificate_ids: Iterable[int]) -> None:
        self._run_each("INSERT OR IGNORE INTO unreported VALUES (?)", certificate_ids)

    def next(self, without: Collection[int]) -> tuple[list[Placed], list[int]]:
        """Returns at most 500 unreported changes: served and dropped certificates.

        Skips the certificates `without`.
        """
        rows = self._run(
            "SELECT u.certificate_id, c.id, c.version, c.fingerprint, c.key_type, c.path"
            " FROM unreported u LEFT JOIN certificates c ON c.id = u.certificate_id"
            " AND EXISTS (SELECT 1 FROM selected s WHERE s.certificate_id = c.id)"
            " WHERE u.certificate_id NOT IN (SELECT value FROM json_each(?)) LIMIT 500",
            json.dumps([*without]),
        ).fetchall()
        served = [Placed(*placed) for _, *placed in rows if placed[0] is not None]
        return served, [row[0] for row in rows if row[1] is None]

    def remove(self, certificate_ids: Iterable[int]) -> None:
        self._run_each("DELETE FROM unreported WHERE certificate_id = ?", certificate_ids)
