"""The certificates in the folder, and their hostnames."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ....pki.names.hostnames import wildcard_of
from ..entries import Entry
from .database import Table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Placed(NamedTuple):
    """A certificate whose file is at `path`."""

    id: int
    version: int
    fingerprint: str
    key_type: str
    path: str


class Certificates(Table):
    """The current version of each certificate, and the last version that the check accepted.

    Each row names the last snapshot of the feed that had the certificate.
    """

    def put(self, entry: Entry, path: str, snapshot: int, now: datetime) -> None:
        """Records a new or changed certificate as part of `snapshot`."""
        self._keep_accepted(entry.certificate_id)
        self.forget(entry.certificate_id)
        self._run(
            "INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(entry.certificate_id, entry.user_id, entry.version, entry.fingerprint_sha256),
            *(entry.trust, entry.key_type, number_of(entry.not_before), number_of(entry.not_after)),
            *(snapshot, path, now.timestamp()),
        )
        self._add_hostnames(entry.certificate_id, entry.names)

    def forget(self, certificate_id: int) -> None:
        """Removes a certificate and its hostnames. They may still be selected."""
        self._run("DELETE FROM certificates WHERE id = ?", certificate_id)
        self._run("DELETE FROM hostnames WHERE certificate_id = ?", certificate_id)

    def move(self, certificate_id: int, path: str) -> None:
        """Records the new path of a certificate's file."""
        self._run("UPDATE certificates SET path = ? WHERE id = ?", path, certificate_id)

    def placed(self, certificate_id: int) -> Placed | None:
        row = self._row(
            "SELECT id, version, fingerprint, key_type, path FROM certificates WHERE id = ?",
            certificate_id,
        )
        return Placed(*row) if row else None

    def paths(self) -> Iterator[str]:
        """Returns the paths of all certificate files."""
        return (row[0] for row in self._run("SELECT path FROM certificates"))

    def changed_since(self, instant: float) -> list[str]:
        """Returns the paths of files that were written after `instant` (seconds since 1970)."""
        return self._column("SELECT path FROM certificates WHERE changed_at >= ?", instant)

    def hostnames_of(self, certificate_id: int) -> list[str]:
        return self._column(
            "SELECT hostname FROM hostnames WHERE certificate_id = ?", certificate_id
        )

    def _add_hostnames(self, certificate_id: int, hostnames: Iterable[str]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO hostnames VALUES (?, ?, ?)",
            [(name, certificate_id, wildcard_of(name)) for name in hostnames],
        )

    # Snapshots

    def add_to_snapshot(self, certificate_id: int, snapshot: int) -> None:
        """Records that a certificate is part of `snapshot`, without changing its version."""
        self._run("UPDATE certificates SET snapshot = ? WHERE id = ?", snapshot, certificate_id)

    def outside(self, snapshot: int) -> list[int]:
        """Returns the certificates that are not part of `snapshot`."""
        return self._column("SELECT id FROM certificates WHERE snapshot < ?", snapshot)

    # Validity

    def names_changed_between(self, start: datetime, now: datetime) -> list[str]:
        """Returns the hostnames of certificates that became valid or expired after `start`.

        Ends with `now`.
        """
        return self._column(
            "SELECT DISTINCT h.hostname FROM certificates c"
            " JOIN hostnames h ON h.certificate_id = c.id"
            " WHERE (c.not_before > ? AND c.not_before <= ?)"
            " OR (c.not_after >= ? AND c.not_after < ?)",
            *(2 * (number_of(start), number_of(now))),
        )

    def next_change(self, now: datetime) -> datetime | None:
        """Returns when a certificate next becomes valid or expires, or None."""
        at = number_of(now)
        begin = self._value("SELECT min(not_before) FROM certificates WHERE not_before > ?", at)
        end = self._value("SELECT min(not_after) + 1 FROM certificates WHERE not_after >= ?", at)
        instants = [instant for instant in (begin, end) if instant is not None]
        return moment_of(min(instants, default=None))

    # Versions that the server's check accepted

    def _keep_accepted(self, certificate_id: int) -> None:
        self._run(
            "INSERT OR IGNORE INTO accepted SELECT c.*, (SELECT json_group_array(h.hostname)"
            " FROM hostnames h WHERE h.certificate_id = c.id) FROM certificates c WHERE c.id = ?",
            certificate_id,
        )

    def accepted_path(self, certificate_id: int) -> str | None:
        """Returns the path of the version that was accepted before the current one."""
        path: str | None = self._value(
            "SELECT path FROM accepted WHERE certificate_id = ?", certificate_id
        )
        return path

    def restore_accepted(self, certificate_id: int, snapshot: int) -> None:
        """Restores the previously accepted version of a certificate."""
        row = self._row("SELECT * FROM accepted WHERE certificate_id = ?", certificate_id)
        if row:
            *values, hostnames = row
            self.forget(certificate_id)
            self._run("INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)
            self._add_hostnames(certificate_id, json.loads(hostnames))
            self.add_to_snapshot(certificate_id, snapshot)
            self.drop_accepted(certificate_id)

    def drop_accepted(self, certificate_id: int) -> None:
        self._run("DELETE FROM accepted WHERE certificate_id = ?", certificate_id)


def number_of(moment: datetime | None) -> int | None:
    """Returns microseconds since 1970."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def moment_of(number: int | None) -> datetime | None:
    """Returns the time `number` microseconds after 1970."""
    return None if number is None else _EPOCH + number * _MICROSECOND
