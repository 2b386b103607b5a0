"""The selected certificate of each hostname and key type."""

from collections.abc import Iterable, Iterator
from typing import cast

from ....pki.names.hostnames import wildcard_of
from ....pki.selection import Candidate
from ....pki.submission import Trust
from .certificates import moment_of
from .database import Table


class Selection(Table):
    """The certificates that are served, and the files that nginx serves for each name."""

    def candidates(self, hostname: str) -> list[Candidate]:
        """Returns the certificates that match `hostname`, each with the matching names only.

        A certificate that the server cannot load has no key here. Its user still owns the name.
        """
        matching = (hostname, wildcard_of(hostname))
        rows = self._run(
            "SELECT c.id, c.user_id, c.version, h.hostname, c.not_before, c.not_after, c.trust,"
            " c.key_type, NOT EXISTS (SELECT 1 FROM refused r WHERE r.certificate_id = c.id"
            " AND r.version = c.version AND r.fingerprint = c.fingerprint)"
            " FROM hostnames h JOIN certificates c ON c.id = h.certificate_id"
            " WHERE h.hostname IN (?, ?)"
            " UNION ALL SELECT certificate_id, user_id, 0, hostname, NULL, NULL, 'incomplete',"
            " NULL, 0 FROM reserved WHERE hostname IN (?, ?)",
            *(matching * 2),
        )
        found: dict[tuple[int, int], Candidate] = {}
        for number, user, version, name, begin, end, trust, key_type, has_key in rows:
            previous = found.get((number, version))
            names = (name, *(previous.hostnames if previous else ()))
            validity = moment_of(begin), moment_of(end)
            found[number, version] = Candidate(
                number,
                user,
                version,
                True,
                names,
                *validity,
                cast(Trust, trust),
                key_type,
                bool(has_key),
            )
        return list(found.values())

    def selected(self, hostname: str) -> dict[str, int]:
        """Returns the certificates that are served for `hostname`, by key type."""
        rows = self._run(
            "SELECT key_type, certificate_id FROM selected WHERE hostname = ?", hostname
        )
        return dict(rows.fetchall())

    def set_selected(self, hostname: str, before: dict[str, int], selected: dict[str, int]) -> None:
        """Replaces the selected certificates of `hostname`, which were `before`."""
        if before:
            self._run("DELETE FROM selected WHERE hostname = ?", hostname)
        self._database.executemany(
            "INSERT INTO selected VALUES (?, ?, ?)",
            [(hostname, key_type, number) for key_type, number in selected.items()],
        )

    def is_served(self, certificate_id: int) -> bool:
        return bool(
            self._value("SELECT 1 FROM selected WHERE certificate_id = ? LIMIT 1", certificate_id)
        )

    def all_served(self) -> list[int]:
        """Returns the served certificates."""
        return self._column("SELECT DISTINCT certificate_id FROM selected")

    def filters_of(self, certificate_id: int) -> list[str]:
        """Returns the hostnames that a certificate is served for, in order.

        Hostnames that only its wildcard covers are left out. Before them come negative entries,
        each with a `!`: other users' names that its wildcards cover. Without these entries, a
        server would choose the certificate for such a name by its key type.
        """
        return self._column(
            "SELECT filter FROM filters WHERE certificate_id = ? ORDER BY filter", certificate_id
        )

    def filters_at(self, path: str) -> list[str]:
        """Returns `filters_of` for the certificate at `path`, or an empty list."""
        certificate_id = self._value("SELECT id FROM certificates WHERE path = ?", path)
        return [] if certificate_id is None else self.filters_of(certificate_id)

    # Listings

    def exclude(self, certificate_ids: Iterable[int]) -> None:
        """Leaves exactly these certificates out of listings, in this process only."""
        self._run("DELETE FROM aside")
        self._run_each("INSERT INTO aside VALUES (?)", certificate_ids)

    def all_selected(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Yields the hostname, key type and path of each served certificate, by hostname.

        A hostname that is kept free has neither key type nor path.
        """
        return self._run(
            "SELECT w.hostname, w.key_type, c.path FROM selected w"
            " JOIN certificates c ON c.id = w.certificate_id"
            " WHERE c.id NOT IN (SELECT certificate_id FROM aside)"
            " UNION ALL SELECT hostname, NULL, NULL FROM kept_free"
            " ORDER BY 1, 2"
        )

    def all_filters(self) -> Iterator[tuple[str, str]]:
        """Yields the path and each of `filters_of`, for all certificates by id."""
        return self._run(
            "SELECT c.path, f.filter FROM filters f JOIN certificates c ON c.id = f.certificate_id"
            " WHERE c.id NOT IN (SELECT certificate_id FROM aside)"
            " ORDER BY c.id, f.filter"
        )

    # Pairs of files that nginx serves for a name

    def pair(self, hostname: str) -> str | None:
        path: str | None = self._value("SELECT path FROM pairs WHERE hostname = ?", hostname)
        return path

    def set_pair(self, hostname: str, path: str | None) -> None:
        if path is None:
            self._run("DELETE FROM pairs WHERE hostname = ?", hostname)
        else:
            self._run("INSERT OR REPLACE INTO pairs VALUES (?, ?)", hostname, path)

    def is_pair_used(self, path: str) -> bool:
        return bool(self._value("SELECT 1 FROM pairs WHERE path = ? LIMIT 1", path))

    def paired_names(self, *, wildcards: bool) -> Iterator[str]:
        """Returns the hostnames with a pair, in order: only wildcards, or all others."""
        rows = self._run(
            "SELECT hostname FROM pairs WHERE (substr(hostname, 1, 2) = '*.') = ?"
            " AND hostname NOT IN (SELECT w.hostname FROM selected w"
            " JOIN aside a ON a.certificate_id = w.certificate_id)",
            wildcards,
        )
        return (row[0] for row in rows)
