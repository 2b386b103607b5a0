"""The agent's database: certificates, what is served, and pending work.

The database holds no keys. It is never ahead of the files: every recorded file is in its place.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import uuid4

from ...pki.names.hostnames import wildcard_of
from ...pki.selection import Candidate
from ...pki.submission import Trust
from .entries import Entry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS certificates (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL, trust TEXT NOT NULL, key_type TEXT NOT NULL,
    not_before INTEGER, not_after INTEGER, snapshot INTEGER NOT NULL,
    path TEXT NOT NULL, changed_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS certificates_not_before ON certificates (not_before);
CREATE INDEX IF NOT EXISTS certificates_not_after ON certificates (not_after);
CREATE INDEX IF NOT EXISTS certificates_changed_at ON certificates (changed_at);
CREATE TABLE IF NOT EXISTS hostnames (
    hostname TEXT NOT NULL, certificate_id INTEGER NOT NULL, wildcard TEXT NOT NULL,
    PRIMARY KEY (hostname, certificate_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS hostnames_certificate ON hostnames (certificate_id);
CREATE INDEX IF NOT EXISTS hostnames_wildcard ON hostnames (wildcard);
CREATE TABLE IF NOT EXISTS reserved (
    hostname TEXT NOT NULL, certificate_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
    wildcard TEXT NOT NULL, snapshot INTEGER NOT NULL,
    PRIMARY KEY (hostname, certificate_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reserved_certificate ON reserved (certificate_id);
CREATE INDEX IF NOT EXISTS reserved_wildcard ON reserved (wildcard);
CREATE TABLE IF NOT EXISTS kept_free (hostname TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS selected (
    hostname TEXT NOT NULL, key_type TEXT NOT NULL, certificate_id INTEGER NOT NULL,
    PRIMARY KEY (hostname, key_type)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS selected_certificate ON selected (certificate_id);
CREATE TABLE IF NOT EXISTS pairs (hostname TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pairs_path ON pairs (path);
CREATE TABLE IF NOT EXISTS leftovers (path TEXT PRIMARY KEY, due REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS leftovers_due ON leftovers (due);
CREATE TABLE IF NOT EXISTS unsent (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unreported (certificate_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS refused (
    certificate_id INTEGER PRIMARY KEY, version INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    reason TEXT NOT NULL, hostnames TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unchecked (certificate_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS accepted (
    certificate_id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL, trust TEXT NOT NULL, key_type TEXT NOT NULL,
    not_before INTEGER, not_after INTEGER, snapshot INTEGER NOT NULL,
    path TEXT NOT NULL, changed_at REAL NOT NULL, hostnames TEXT NOT NULL);
CREATE TEMP TABLE IF NOT EXISTS aside (certificate_id INTEGER PRIMARY KEY);
CREATE TEMP VIEW IF NOT EXISTS below (wildcard, hostname, user_id) AS
    SELECT h.wildcard, h.hostname, c.user_id FROM hostnames h
    JOIN certificates c ON c.id = h.certificate_id WHERE h.hostname <> h.wildcard
    UNION ALL SELECT wildcard, hostname, user_id FROM reserved WHERE hostname <> wildcard;
CREATE TEMP VIEW IF NOT EXISTS filters (certificate_id, filter) AS
    SELECT w.certificate_id, w.hostname FROM selected w
    JOIN hostnames h ON h.hostname = w.hostname AND h.certificate_id = w.certificate_id
    UNION SELECT w.certificate_id, '!' || b.hostname FROM selected w
    JOIN hostnames h ON h.hostname = w.hostname AND h.certificate_id = w.certificate_id
    JOIN certificates c ON c.id = w.certificate_id JOIN below b ON b.wildcard = w.hostname
    WHERE b.user_id <> c.user_id AND NOT EXISTS (SELECT 1 FROM selected x
        WHERE x.hostname = b.hostname AND x.key_type = w.key_type);
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Placed(NamedTuple):
    """A certificate whose file is at `path`."""

    id: int
    version: int
    fingerprint: str
    key_type: str
    path: str


class Refusal(NamedTuple):
    """A version of a certificate that a server cannot load, and why."""

    certificate_id: int
    version: int
    reason: str
    hostnames: str

    def __str__(self) -> str:
        names = f" ({self.hostnames})" if self.hostnames else ""
        return (
            f"Certificate {self.certificate_id}{names}, version {self.version}, is not served: "
            f"{self.reason}."
        )


class State:
    """The database of one folder, for one thread."""

    def __init__(self, file: Path) -> None:
        """Opens the database `file`. Raises sqlite3.Error.

        No other account may be able to write to `file`.
        """
        self._database = sqlite3.connect(file)
        # A power failure may lose the last changes, but the feed still has them.
        self._database.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            f"PRAGMA cache_size = -16000; PRAGMA trusted_schema = OFF;"
            f"PRAGMA temp_store = MEMORY; {_SCHEMA}"
        )

        with self.transaction():
            if not self.fact("instance"):
                self.note("instance", uuid4().hex)

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
        row = self._row("SELECT value FROM facts WHERE name = ?", name)
        return row[0] if row else ""

    def note(self, name: str, value: str) -> None:
        """Sets a fact."""
        self._do("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    # Certificates

    def put(self, entry: Entry, path: str, snapshot: int, now: datetime) -> None:
        """Records a new or changed certificate as part of `snapshot`."""
        self._keep_accepted(entry.certificate_id)
        self.forget(entry.certificate_id)
        self._do(
            "INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            entry.certificate_id,
            entry.user_id,
            entry.version,
            entry.fingerprint_sha256,
            entry.trust,
            entry.key_type,
            _number(entry.not_before),
            _number(entry.not_after),
            snapshot,
            path,
            now.timestamp(),
        )
        self._add_hostnames(entry.certificate_id, entry.names)

    def _add_hostnames(self, certificate_id: int, hostnames: Iterable[str]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO hostnames VALUES (?, ?, ?)",
            [(name, certificate_id, wildcard_of(name)) for name in hostnames],
        )

    def forget(self, certificate_id: int) -> None:
        """Removes a certificate and its hostnames, but not its rows in `selected`."""
        self._do("DELETE FROM certificates WHERE id = ?", certificate_id)
        self._do("DELETE FROM hostnames WHERE certificate_id = ?", certificate_id)

    def move(self, certificate_id: int, path: str) -> None:
        """Records the new path of a certificate's file."""
        self._do("UPDATE certificates SET path = ? WHERE id = ?", path, certificate_id)

    def placed(self, certificate_id: int) -> Placed | None:
        row = self._row(
            "SELECT id, version, fingerprint, key_type, path FROM certificates WHERE id = ?",
            certificate_id,
        )
        return Placed(*row) if row else None

    def name_again(self, certificate_id: int, snapshot: int) -> None:
        """Records that a certificate is part of `snapshot`, without changing its version."""
        self._do("UPDATE certificates SET snapshot = ? WHERE id = ?", snapshot, certificate_id)

    def not_named_since(self, snapshot: int) -> list[int]:
        """Returns the certificates that are not part of `snapshot`."""
        rows = self._do("SELECT id FROM certificates WHERE snapshot < ?", snapshot)
        return [row[0] for row in rows]

    def paths(self) -> Iterator[str]:
        """Returns the paths of all certificate files."""
        return (row[0] for row in self._do("SELECT path FROM certificates"))

    def changed_since(self, instant: float) -> list[str]:
        """Returns the paths of files that were written after `instant` (seconds since 1970)."""
        rows = self._do("SELECT path FROM certificates WHERE changed_at >= ?", instant)
        return [row[0] for row in rows]

    # Names

    def hostnames_of(self, certificate_id: int) -> list[str]:
        rows = self._do("SELECT hostname FROM hostnames WHERE certificate_id = ?", certificate_id)
        return [row[0] for row in rows]

    def names_below(self, wildcard: str) -> list[str]:
        """Returns the recorded hostnames that `wildcard` also covers."""
        rows = self._do(
            "SELECT hostname FROM hostnames WHERE wildcard = ?1"
            " UNION SELECT hostname FROM reserved WHERE wildcard = ?1",
            wildcard,
        )
        return [row[0] for row in rows]

    def reserve(
        self, certificate_id: int, user_id: int, hostnames: Iterable[str], snapshot: int
    ) -> list[str]:
        """Replaces the reserved names of a certificate that cannot be served.

        No other user's certificate is served for reserved names. Returns the previous names.
        """
        rows = self._do(
            "DELETE FROM reserved WHERE certificate_id = ? RETURNING hostname", certificate_id
        )
        before = [row[0] for row in rows.fetchall()]
        self._database.executemany(
            "INSERT OR IGNORE INTO reserved VALUES (?, ?, ?, ?, ?)",
            [(name, certificate_id, user_id, wildcard_of(name), snapshot) for name in hostnames],
        )
        return before

    def release_not_named_since(self, snapshot: int) -> list[str]:
        """Deletes the reservations outside `snapshot`. Returns their hostnames."""
        rows = self._do("DELETE FROM reserved WHERE snapshot < ? RETURNING hostname", snapshot)
        return [row[0] for row in rows.fetchall()]

    def candidates(self, hostname: str) -> list[Candidate]:
        """Returns the certificates that match `hostname`, each with the matching names only.

        A certificate that the server cannot load has no key here. Its user still owns the name.
        """
        rows = self._do(
            "SELECT c.id, c.user_id, c.version, h.hostname, c.not_before, c.not_after, c.trust,"
            " c.key_type, NOT EXISTS (SELECT 1 FROM refused r WHERE r.certificate_id = c.id"
            " AND r.version = c.version AND r.fingerprint = c.fingerprint)"
            " FROM hostnames h JOIN certificates c ON c.id = h.certificate_id"
            " WHERE h.hostname IN (?1, ?2)"
            " UNION ALL SELECT certificate_id, user_id, 0, hostname, NULL, NULL, 'incomplete',"
            " NULL, 0 FROM reserved WHERE hostname IN (?1, ?2)",
            hostname,
            wildcard_of(hostname),
        )
        found: dict[tuple[int, int], Candidate] = {}
        for number, user, version, name, begin, end, trust, key_type, has_key in rows:
            this = number, version
            names = (name, *(found[this].hostnames if this in found else ()))
            found[this] = Candidate(
                number,
                user,
                version,
                True,
                names,
                _moment(begin),
                _moment(end),
                cast(Trust, trust),
                key_type,
                bool(has_key),
            )
        return list(found.values())

    def names_changed_between(self, start: datetime, now: datetime) -> list[str]:
        """Returns the hostnames of certificates that became valid or expired after `start`.

        Ends with `now`.
        """
        rows = self._do(
            "SELECT DISTINCT h.hostname FROM certificates c"
            " JOIN hostnames h ON h.certificate_id = c.id"
            " WHERE (c.not_before > ?1 AND c.not_before <= ?2)"
            " OR (c.not_after >= ?1 AND c.not_after < ?2)",
            _number(start),
            _number(now),
        )
        return [row[0] for row in rows]

    def next_change(self, now: datetime) -> datetime | None:
        """Returns when a certificate next becomes valid or expires, or None."""
        begins = self._row(
            "SELECT min(not_before) FROM certificates WHERE not_before > ?", _number(now)
        )
        ends = self._row(
            "SELECT min(not_after) + 1 FROM certificates WHERE not_after >= ?", _number(now)
        )
        instants = [row[0] for row in (begins, ends) if row and row[0] is not None]
        return _moment(min(instants, default=None))

    # What is served

    def selected(self, hostname: str) -> dict[str, int]:
        """Returns the certificates that are served for `hostname`, by key type."""
        rows = self._do(
            "SELECT key_type, certificate_id FROM selected WHERE hostname = ?", hostname
        )
        return dict(rows.fetchall())

    def set_selected(self, hostname: str, before: dict[str, int], selected: dict[str, int]) -> None:
        """Replaces the selected certificates of `hostname`, which were `before`."""
        if before:
            self._do("DELETE FROM selected WHERE hostname = ?", hostname)
        self._database.executemany(
            "INSERT INTO selected VALUES (?, ?, ?)",
            [(hostname, key_type, number) for key_type, number in selected.items()],
        )

    def set_kept_free(self, hostname: str, is_kept_free: bool) -> bool:
        """Records whether `hostname` is kept free. Returns whether that has changed.

        Nothing is served for such a hostname, although a wildcard covers it, because another user
        owns it.
        """
        statement = (
            "INSERT OR IGNORE INTO kept_free VALUES (?)"
            if is_kept_free
            else "DELETE FROM kept_free WHERE hostname = ?"
        )
        return self._do(statement, hostname).rowcount > 0

    def is_served(self, certificate_id: int) -> bool:
        row = self._row("SELECT 1 FROM selected WHERE certificate_id = ? LIMIT 1", certificate_id)
        return row is not None

    def filters_of(self, certificate_id: int) -> list[str]:
        """Returns the hostnames that a certificate is served for, in order.

        Hostnames that only its wildcard covers are left out. Before them come negative entries,
        each with a `!`: other users' names that its wildcards cover. Without these entries, a
        server would choose the certificate for such a name by its key type.
        """
        rows = self._do(
            "SELECT filter FROM filters WHERE certificate_id = ? ORDER BY filter", certificate_id
        )
        return [row[0] for row in rows]

    # Certificates that a server cannot load

    def refuse(
        self,
        certificate_id: int,
        version: int,
        fingerprint: str,
        reason: str,
        hostnames: Iterable[str],
    ) -> Refusal | None:
        """Records that a server cannot load this version. Returns None if it was known."""
        known = self._row(
            "SELECT version, fingerprint, reason FROM refused WHERE certificate_id = ?",
            certificate_id,
        )
        if known == (version, fingerprint, reason):
            return None
        names = list(hostnames)
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        self._do(
            "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)",
            certificate_id,
            version,
            fingerprint,
            reason,
            shown,
        )
        return Refusal(certificate_id, version, reason, shown)

    def is_refused(self, certificate_id: int, version: int, fingerprint: str) -> bool:
        row = self._row(
            "SELECT 1 FROM refused WHERE certificate_id = ? AND version = ? AND fingerprint = ?",
            certificate_id,
            version,
            fingerprint,
        )
        return row is not None

    def admit(self, certificate_ids: Iterable[int]) -> None:
        """Deletes the refusals of certificates."""
        self._database.executemany(
            "DELETE FROM refused WHERE certificate_id = ?", [(one,) for one in certificate_ids]
        )

    def admit_unknown(self) -> None:
        """Deletes the refusals of certificates without a version in the folder."""
        self._do("DELETE FROM refused WHERE certificate_id NOT IN (SELECT id FROM certificates)")

    def refusals(self, most: int) -> list[Refusal]:
        """Returns at most `most` refusals, by certificate id."""
        rows = self._do(
            "SELECT certificate_id, version, reason, hostnames FROM refused"
            " ORDER BY certificate_id LIMIT ?",
            most,
        )
        return [Refusal(*row) for row in rows]

    def count_refusals(self) -> int:
        row = self._row("SELECT count(*) FROM refused")
        return row[0] if row else 0

    def note_unchecked(self, certificate_ids: Iterable[int]) -> None:
        """Records that the server's check has not accepted the current certificates."""
        self._database.executemany(
            "INSERT OR IGNORE INTO unchecked VALUES (?)", [(one,) for one in certificate_ids]
        )

    def _keep_accepted(self, certificate_id: int) -> None:
        """Keeps the record of a version that the server's check accepted."""
        self._do(
            "INSERT OR IGNORE INTO accepted SELECT c.*, (SELECT json_group_array(h.hostname)"
            " FROM hostnames h WHERE h.certificate_id = c.id) FROM certificates c WHERE c.id = ?",
            certificate_id,
        )

    def accepted_path(self, certificate_id: int) -> str | None:
        """Returns the path of the version that was accepted before the current one."""
        row = self._row("SELECT path FROM accepted WHERE certificate_id = ?", certificate_id)
        return row[0] if row else None

    def put_back(self, certificate_id: int, snapshot: int) -> None:
        """Restores the previously accepted version of a certificate."""
        row = self._row("SELECT * FROM accepted WHERE certificate_id = ?", certificate_id)
        if row:
            *values, hostnames = row
            self.forget(certificate_id)
            self._do("INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)
            self._add_hostnames(certificate_id, json.loads(hostnames))
            self.name_again(certificate_id, snapshot)
            self.drop_accepted(certificate_id)

    def drop_accepted(self, certificate_id: int) -> None:
        self._do("DELETE FROM accepted WHERE certificate_id = ?", certificate_id)

    def unchecked(self) -> list[int]:
        """Returns served certificates that the server's check has not accepted yet."""
        rows = self._do(
            "SELECT certificate_id FROM unchecked u WHERE EXISTS"
            " (SELECT 1 FROM selected w WHERE w.certificate_id = u.certificate_id)"
        )
        return [row[0] for row in rows]

    def all_served(self) -> list[int]:
        """Returns the served certificates."""
        return [row[0] for row in self._do("SELECT DISTINCT certificate_id FROM selected")]

    def checked_all(self) -> None:
        self._do("DELETE FROM unchecked")
        self._do("DELETE FROM accepted")

    def set_aside(self, certificate_ids: Iterable[int]) -> None:
        """Leaves exactly these certificates out of listings, in this process only."""
        self._do("DELETE FROM aside")
        self._database.executemany(
            "INSERT INTO aside VALUES (?)", [(one,) for one in certificate_ids]
        )

    def all_selected(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Yields the hostname, key type and path of each served certificate, by hostname.

        A hostname that is kept free has neither key type nor path.
        """
        return self._do(
            "SELECT w.hostname, w.key_type, c.path FROM selected w"
            " JOIN certificates c ON c.id = w.certificate_id"
            " WHERE c.id NOT IN (SELECT certificate_id FROM aside)"
            " UNION ALL SELECT hostname, NULL, NULL FROM kept_free"
            " ORDER BY 1, 2"
        )

    def all_filters(self) -> Iterator[tuple[str, str]]:
        """Yields the path and each of `filters_of`, for all certificates by id."""
        return self._do(
            "SELECT c.path, f.filter FROM filters f JOIN certificates c ON c.id = f.certificate_id"
            " WHERE c.id NOT IN (SELECT certificate_id FROM aside)"
            " ORDER BY c.id, f.filter"
        )

    # Pairs of files that nginx serves for a name

    def pair(self, hostname: str) -> str | None:
        row = self._row("SELECT path FROM pairs WHERE hostname = ?", hostname)
        return row[0] if row else None

    def set_pair(self, hostname: str, path: str | None) -> None:
        if path is None:
            self._do("DELETE FROM pairs WHERE hostname = ?", hostname)
        else:
            self._do("INSERT OR REPLACE INTO pairs VALUES (?, ?)", hostname, path)

    def is_pair_used(self, path: str) -> bool:
        return self._row("SELECT 1 FROM pairs WHERE path = ? LIMIT 1", path) is not None

    def paired_names(self, *, wildcards: bool) -> Iterator[str]:
        """Returns the hostnames with a pair, in order: only wildcards, or all others."""
        rows = self._do(
            "SELECT hostname FROM pairs WHERE (substr(hostname, 1, 2) = '*.') = ?"
            " AND hostname NOT IN (SELECT w.hostname FROM selected w"
            " JOIN aside a ON a.certificate_id = w.certificate_id)",
            wildcards,
        )
        return (row[0] for row in rows)

    # Pending work

    def leave(self, paths: Iterable[str], due: float) -> None:
        """Schedules the removal of `paths` at `due`, because a reader may still open them."""
        self._database.executemany(
            "INSERT OR REPLACE INTO leftovers VALUES (?, ?)", [(path, due) for path in paths]
        )

    def keep(self, paths: Iterable[str]) -> None:
        """Cancels the removal of `paths`."""
        self._database.executemany(
            "DELETE FROM leftovers WHERE path = ?", [(path,) for path in paths]
        )

    def leftovers(self, now: float) -> list[str]:
        rows = self._do("SELECT path FROM leftovers WHERE due <= ?", now)
        return [row[0] for row in rows]

    def next_leftover(self) -> float | None:
        row = self._row("SELECT min(due) FROM leftovers")
        return row[0] if row else None

    def queue(self, paths: Iterable[str]) -> None:
        """Queues these files for a running server."""
        self._database.executemany(
            "INSERT OR IGNORE INTO unsent VALUES (?)", [(path,) for path in paths]
        )

    def queued(self) -> list[str]:
        return [row[0] for row in self._do("SELECT path FROM unsent")]

    def sent(self, path: str) -> None:
        self._do("DELETE FROM unsent WHERE path = ?", path)

    def is_sent(self) -> bool:
        return self._row("SELECT 1 FROM unsent LIMIT 1") is None

    def sent_all(self) -> None:
        self._do("DELETE FROM unsent")

    def filters_at(self, path: str) -> list[str]:
        """Returns `filters_of` for the certificate at `path`, or an empty list."""
        row = self._row("SELECT id FROM certificates WHERE path = ?", path)
        return self.filters_of(row[0]) if row else []

    def to_report(self, certificate_ids: Iterable[int]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO unreported VALUES (?)", [(one,) for one in certificate_ids]
        )

    def unreported(self, without: Collection[int]) -> tuple[list[Placed], list[int]]:
        """Returns at most 500 unreported changes: served and dropped certificates.

        Skips the certificates `without`.
        """
        rows = self._do(
            "SELECT certificate_id FROM unreported"
            " WHERE certificate_id NOT IN (SELECT value FROM json_each(?)) LIMIT 500",
            json.dumps([*without]),
        )
        served, dropped = list[Placed](), list[int]()
        for number in [row[0] for row in rows]:
            placed = self.placed(number) if self.is_served(number) else None
            if placed:
                served.append(placed)
            else:
                dropped.append(number)
        return served, dropped

    def reported(self, certificate_ids: Iterable[int]) -> None:
        self._database.executemany(
            "DELETE FROM unreported WHERE certificate_id = ?", [(one,) for one in certificate_ids]
        )

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

    def _do(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._database.execute(statement, values)

    def _row(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._do(statement, *values).fetchone()
        return row


def _number(moment: datetime | None) -> int | None:
    """Returns microseconds since 1970."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _moment(number: int | None) -> datetime | None:
    return None if number is None else _EPOCH + number * _MICROSECOND
