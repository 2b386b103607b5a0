"""Names for which no other user's certificate is served."""

from collections.abc import Iterable

from ....pki.names.hostnames import wildcard_of
from .database import Table


class Reservations(Table):
    """The names of certificates that cannot be served, reserved for their users."""

    def replace(
        self, certificate_id: int, user_id: int, hostnames: Iterable[str], snapshot: int
    ) -> list[str]:
        """Replaces the names that a certificate reserves. Returns the previous names."""
        previous = self._column(
            "DELETE FROM reserved WHERE certificate_id = ? RETURNING hostname", certificate_id
        )
        self._database.executemany(
            "INSERT OR IGNORE INTO reserved VALUES (?, ?, ?, ?, ?)",
            [(name, certificate_id, user_id, wildcard_of(name), snapshot) for name in hostnames],
        )
        return previous

    def delete_outside(self, snapshot: int) -> list[str]:
        """Deletes the reservations outside `snapshot`. Returns their hostnames."""
        return self._column("DELETE FROM reserved WHERE snapshot < ? RETURNING hostname", snapshot)

    def names_below(self, wildcard: str) -> list[str]:
        """Returns the recorded hostnames, reserved or not, that `wildcard` also covers."""
        return self._column(
            "SELECT hostname FROM hostnames WHERE wildcard = ?"
            " UNION SELECT hostname FROM reserved WHERE wildcard = ?",
            *(wildcard, wildcard),
        )

    def set_kept_free(self, hostname: str, is_kept_free: bool) -> bool:
        """Records whether `hostname` is kept free. Returns whether that has changed.

        Nothing is served for such a hostname, although a wildcard covers it, because another user
        owns it.
        """
        statement = "DELETE FROM kept_free WHERE hostname = ?"
        if is_kept_free:
            statement = "INSERT OR IGNORE INTO kept_free VALUES (?)"
        return self._run(statement, hostname).rowcount > 0
