"""Certificates that a server cannot load, or has not checked yet."""

from collections.abc import Iterable
from typing import NamedTuple

from .database import Table


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


class Refusals(Table):
    """The versions that a server cannot load, and those that its check has not accepted yet."""

    def add(
        self,
        certificate_id: int,
        version: int,
        fingerprint: str,
        reason: str,
        hostnames: Iterable[str],
    ) -> Refusal | None:
        """Records that a server cannot load this version. Returns None if it was known."""
        refused = certificate_id, version, fingerprint, reason
        previous = self._row(
            "SELECT certificate_id, version, fingerprint, reason FROM refused"
            " WHERE certificate_id = ?",
            certificate_id,
        )
        if previous == refused:
            return None
        names = list(hostnames)
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        self._run("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)", *refused, shown)
        return Refusal(certificate_id, version, reason, shown)

    def has(self, certificate_id: int, version: int, fingerprint: str) -> bool:
        """Returns whether a server cannot load this version."""
        return bool(
            self._value(
                "SELECT 1 FROM refused"
                " WHERE certificate_id = ? AND version = ? AND fingerprint = ?",
                *(certificate_id, version, fingerprint),
            )
        )

    def delete(self, certificate_ids: Iterable[int]) -> None:
        self._run_each("DELETE FROM refused WHERE certificate_id = ?", certificate_ids)

    def delete_unplaced(self) -> None:
        """Deletes the refusals of certificates without a version in the folder."""
        self._run("DELETE FROM refused WHERE certificate_id NOT IN (SELECT id FROM certificates)")

    def first(self, most: int) -> list[Refusal]:
        """Returns at most `most` refusals, by certificate id."""
        rows = self._run(
            "SELECT certificate_id, version, reason, hostnames FROM refused"
            " ORDER BY certificate_id LIMIT ?",
            most,
        )
        return [Refusal(*row) for row in rows]

    def count(self) -> int:
        return int(self._value("SELECT count(*) FROM refused"))

    def add_unchecked(self, certificate_ids: Iterable[int]) -> None:
        """Records that the server's check has not accepted the current certificates."""
        self._run_each("INSERT OR IGNORE INTO unchecked VALUES (?)", certificate_ids)

    def unchecked(self) -> list[int]:
        """Returns served certificates that the server's check has not accepted yet."""
        return self._column(
            "SELECT certificate_id FROM unchecked u WHERE EXISTS"
            " (SELECT 1 FROM selected w WHERE w.certificate_id = u.certificate_id)"
        )

    def accept_all(self) -> None:
        """Records that the server's check accepted all current certificates."""
        self._run("DELETE FROM unchecked")
        self._run("DELETE FROM accepted")
