"""Selects the certificates for Traefik, which serves each one for all its hostnames."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from ...errors import Conflict
from ...gateways.database import Database, int_param
from ...gateways.database.sql_functions import ids_as_json, ids_of, names_of, size_of
from ...models import Certificate, PrivateKey
from ...pki.names.hostnames import wildcard_of
from ...pki.names.traefik import common_names
from ...pki.selection import Candidate, best, decide
from ..certificates.candidates import DECIDING, OF_KEY, OWNED_NAMES, candidate_of
from ..principal import TerminatorScope

# Traefik fetches the whole configuration every few seconds. Each request reads all active
# certificates without their chains, and the process holds the whole response in memory.
MOST_ACTIVE = 50_000
MOST_CHAIN_BYTES = 64 << 20
# Each takes 150 bytes.
_MOST_REMEMBERED = 2 * MOST_ACTIVE
_FINGERPRINT = DECIDING.index(Certificate.fingerprint_sha256)
_CommonNames = frozenset[str] | None


class Selection(NamedTuple):
    """The certificates for Traefik, by id.

    `owners` has the owner of each hostname within the scope that has an active
    certificate.
    """

    certificates: list[Candidate]
    owners: Mapping[str, int]

    def placeholders(self, delivered: Iterable[Candidate]) -> list[str]:
        """Returns the hostnames that need placeholders.

        For these, Traefik with the certificates `delivered` would serve a wildcard of a user who
        does not own the hostname.
        """
        covered, wildcards = set[str](), dict[str, int]()
        for candidate in delivered:
            names = candidate.hostnames
            covered.update(names)
            wildcards.update((name, candidate.user_id) for name in names if name[:2] == "*.")
        return sorted(
            name
            for name, owner in self.owners.items()
            if name not in covered and wildcards.get(wildcard_of(name), owner) != owner
        )


class TraefikSelection:
    """Selects certificates by the owners of hostnames.

    Traefik cannot omit a hostname of a certificate. So a certificate is omitted if it has a
    hostname that its user does not own, or another user's common name.
    """

    def __init__(self, database: Database) -> None:
        active = (
            select(Certificate.hostnames, OWNED_NAMES, size_of(Certificate.chain_pem), *DECIDING)
            .outerjoin(PrivateKey, OF_KEY)
            .where(Certificate.active)
            .order_by(Certificate.id)
            .limit(int_param("limit"))
        )
        self._active = database.prepare(active, tenant=None)
        self._active_of_users = database.prepare(
            active.where(Certificate.user_id.in_(ids_of("user_ids"))), tenant=None
        )
        self._chains = database.prepare(
            select(Certificate.fingerprint_sha256, Certificate.chain_pem).where(
                Certificate.id.in_(ids_of("ids")), Certificate.chain_pem.is_not(None)
            ),
            tenant=None,
        )
        # Keyed by fingerprint, so an entry never becomes outdated.
        self._common_names: OrderedDict[str, _CommonNames] = OrderedDict()

    def of(self, scope: TerminatorScope, now: datetime) -> Selection:
        """Returns the certificates in `scope` that are the best for one of their hostnames.

        Raises Conflict if there are too many.
        """
        limit = MOST_ACTIVE + 1
        if scope.user_ids is None:
            rows = self._active(limit=limit)
        else:
            rows = self._active_of_users(limit=limit, user_ids=ids_as_json(scope.user_ids))
        if len(rows) == limit:
            raise _too_many(f"{MOST_ACTIVE:,} active certificates")
        candidates, sizes, fingerprints = list[Candidate](), dict[int, int](), dict[int, str]()
        owners: dict[str, int] = {}
        for hostnames, owned_names, size, *row in rows:
            owned = names_of(owned_names)
            candidate = candidate_of(tuple(row), names_of(hostnames), owned)
            candidates.append(candidate)
            owners.update(dict.fromkeys(owned, candidate.user_id))
            sizes[candidate.certificate_id] = size or 0
            if row[_FINGERPRINT]:
                fingerprints[candidate.certificate_id] = row[_FINGERPRINT]
        common_names = self._common_names_of(fingerprints)
        by_name: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            fingerprint = fingerprints.get(candidate.certificate_id, "")
            if _is_its_users_alone(candidate, common_names.get(fingerprint), owners):
                # A limited token gets no key because of a hostname outside its scope.
                for name in scope.names_of(candidate.owned_hostnames):
                    by_name.setdefault(name, []).append(candidate)
        chosen = {
            selected.certificate_id: selected
            for name, rivals in by_name.items()
            if (selected := best(name, decide(name, rivals, now).selected))
            and selected.user_id == owners.get(name, selected.user_id)
        }
        if sum(sizes[number] for number in chosen) > MOST_CHAIN_BYTES:
            raise _too_many(f"{MOST_CHAIN_BYTES >> 20} MiB of certificates")
        within = {name: owner for name, owner in owners.items() if scope.has_name(name)}
        return Selection([chosen[number] for number in sorted(chosen)], within)

    def _common_names_of(self, fingerprints: Mapping[int, str]) -> Mapping[str, _CommonNames]:
        """Returns the common names by fingerprint, given the certificates' fingerprints."""
        unread = [
            number
            for number, fingerprint in fingerprints.items()
            if fingerprint not in self._common_names
        ]
        found: dict[str, _CommonNames] = {}
        for start in range(0, len(unread), 1000):
            ids = ids_as_json(unread[start : start + 1000])
            for fingerprint, chain_pem in self._chains(ids=ids):
                found[fingerprint] = common_names(chain_pem)
        cached = {
            fingerprint: self._common_names[fingerprint]
            for fingerprint in fingerprints.values()
            if fingerprint in self._common_names
        }
        self._common_names.update(found)
        while len(self._common_names) > _MOST_REMEMBERED:
            self._common_names.popitem(last=False)
        return cached | found


def _is_its_users_alone(
    candidate: Candidate, common: _CommonNames, owners: Mapping[str, int]
) -> bool:
    """Returns whether Traefik would serve the certificate for its user's hostnames only."""
    owned, user_id = candidate.owned_hostnames, candidate.user_id
    if common is None or any(name not in owned for name in candidate.hostnames):
        return False
    return all(
        name in owned
        or (
            "*" not in name
            and owners.get(name, user_id) == user_id
            and owners.get(wildcard_of(name), user_id) == user_id
        )
        for name in common
    )


def _too_many(limit: str) -> Conflict:
    return Conflict(
        f"There are more than {limit}, which is too many for one configuration. Limit the "
        "token to users, or use the feed."
    )
