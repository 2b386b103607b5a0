"""The certificates among which is decided what is served, as the database has them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, Text, and_, bindparam, case, select, union

from ...gateways.database import Database
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import array_of, ids_as_json, ids_of, names_of
from ...models import Certificate, CertificateHostname, HostnameClaim, PrivateKey, UserDataKey
from ...pki.names.hostnames import wildcard_of
from ...pki.selection import Candidate, key_type_of
from ..hostnames.claims import OF_CLAIM
from ..keys.data_keys import WRAPPED

_MOST_WITH_CHAINS = 8
# Of a certificate that is replaced all the time, no version is found for which it was chosen.
_MOST_LOOKS = 3
# So many of the newest certificates for a name are looked at.
_MOST = 200

# What is read of a certificate to decide whether it is served.
DECIDING = (
    Certificate.id,
    Certificate.user_id,
    Certificate.version,
    Certificate.active,
    Certificate.not_before,
    Certificate.not_after,
    Certificate.trust,
    Certificate.key_algorithm,
    Certificate.fingerprint_sha256,
    PrivateKey.version,
    Certificate.serve_not_before,
    Certificate.serve_not_after,
    Certificate.not_servable,
)
_FINGERPRINT = DECIDING.index(Certificate.fingerprint_sha256)
_CHAIN, _SEALED = len(DECIDING), len(DECIDING) + 1
# What is read beside it to serve it, keys still sealed.
SERVING = (Certificate.chain_pem, PrivateKey.sealed, *WRAPPED)
OF_KEY = and_(
    PrivateKey.certificate_id == Certificate.id, PrivateKey.version == Certificate.version
)
# The names of a certificate that its user owns, as JSON.
OWNED_NAMES = (
    select(array_of(CertificateHostname.hostname))
    .join(HostnameClaim, OF_CLAIM)
    .where(CertificateHostname.certificate_id == Certificate.id)
    .correlate(Certificate)
    .scalar_subquery()
)


_LIMIT: Any = bindparam("limit", type_=BigInteger)
_NAMES: list[Any] = [bindparam("hostname", type_=Text), bindparam("wildcard", type_=Text)]


# Those of who owns the very name first, then the newest.
_ORDER = (case((HostnameClaim.hostname == _NAMES[0], 0), else_=1), Certificate.id.desc())


class Found(NamedTuple):
    """A certificate that is a candidate."""

    candidate: Candidate
    fingerprint_sha256: str | None


class Servable(NamedTuple):
    """An active certificate with all that is served of it. Its key is sealed with one of the user's
    `data_keys`, which are wrapped: rows of WRAPPED. If its candidate is not servable, anything else
    may be missing."""

    candidate: Candidate
    fingerprint_sha256: str
    chain_pem: str
    sealed: bytes
    data_keys: list[Row]


class Candidates:
    """Reads the candidates for a hostname, whosever they are."""

    def __init__(self, database: Database) -> None:
        self._found = database.prepare(
            _deciding([*_newest(served=True), *_newest(served=False)])
            .outerjoin(PrivateKey, OF_KEY)
            .order_by(
                Certificate.active.desc(),
                # First those that settle whose the hostname is: whatever others have, and however
                # much of it, the limit must not cut these off.
                HostnameClaim.hostname.is_(None),
                *_ORDER,
            ),
            tenant=None,
            by_key=True,
        )
        self._served = database.prepare(
            _serving().outerjoin(PrivateKey, OF_KEY).order_by(*_ORDER), tenant=None, by_key=True
        )
        self._serving = database.prepare(
            _with_keys(_serving(*SERVING)).limit(_LIMIT), tenant=None, by_key=True
        )
        self._those = database.prepare(
            _with_keys(select(Certificate.hostnames, OWNED_NAMES, *DECIDING, *SERVING))
            .where(Certificate.id.in_(ids_of("ids")), Certificate.active)
            .order_by(Certificate.id),
            tenant=None,
        )

    def with_keys(self, certificate_ids: Iterable[int]) -> list[Servable]:
        """Those of them that are active, by id."""
        return servables(self._those(ids=ids_as_json(certificate_ids)))

    def of(self, hostname: str) -> list[Found]:
        """The candidates, some hundreds at most: active ones first, of them those of owners of the
        name first, then those of owners of the wildcard; the newest of them first."""
        return _found(self._found(**_named(hostname), limit=_MOST))

    def served(self, hostname: str) -> list[Found]:
        """Of the candidates those that are active, and whose users own the name or the wildcard."""
        return _found(self._served(**_named(hostname), limit=_MOST))

    def servable(
        self, hostname: str, choose: Callable[[list[Candidate]], Candidate | None]
    ) -> Servable | None:
        """The one that `choose` chooses among all active ones, with all that is served of it.

        One statement reads all of them with their chains and keys; where somebody has very many
        for one name, they are decided among without those.
        """
        rows = self._serving(**_named(hostname), limit=_MOST_WITH_CHAINS)
        if len(rows) < _MOST_WITH_CHAINS:
            found = servables(rows, lambda name: (name,))
            return _the_one(found, choose([one.candidate for one in found]))
        for _ in range(_MOST_LOOKS):
            chosen = choose([one.candidate for one in self.served(hostname)])
            if chosen is None:
                break
            # In between, another version may have come, which nobody has chosen.
            if one := _the_one(self.with_keys([chosen.certificate_id]), chosen):
                return one
        return None


def _named(hostname: str) -> dict[str, str]:
    return {"hostname": hostname, "wildcard": wildcard_of(hostname)}


def _newest(*, served: bool) -> list[Select[*tuple[Any, ...]]]:
    """Finds the newest certificates for two names: all, or those of the owner that are active. Each
    is read from the end of an index, however many others there are."""
    found: list[Select[*tuple[Any, ...]]] = []
    for name in _NAMES:
        newest = select(CertificateHostname.hostname, CertificateHostname.certificate_id).where(
            CertificateHostname.hostname == name
        )
        if served:
            owner = select(HostnameClaim.user_id).where(HostnameClaim.hostname == name)
            newest = newest.where(
                CertificateHostname.user_id == owner.scalar_subquery(), CertificateHostname.active
            )
        newest = newest.order_by(CertificateHostname.certificate_id.desc()).limit(_LIMIT)
        # SQLite takes no limit in a part of a UNION.
        found.append(select(*newest.subquery().c))
    return found


def _deciding(found: Iterable[Select[*tuple[Any, ...]]], *columns: Any) -> Select[*tuple[Any, ...]]:
    """The rows of the certificates `found`: the name, again if it is owned, DECIDING, `columns`."""
    names = union(*found).subquery()
    is_owned = and_(
        HostnameClaim.hostname == names.c.hostname, HostnameClaim.user_id == Certificate.user_id
    )
    return (
        select(names.c.hostname, HostnameClaim.hostname, *DECIDING, *columns)
        .join(Certificate, Certificate.id == names.c.certificate_id)
        .outerjoin(HostnameClaim, is_owned)
    )


def _serving(*columns: Any) -> Select[*tuple[Any, ...]]:
    """The same of those that are active and whose users own the name."""
    return _deciding(_newest(served=True), *columns).where(
        Certificate.active, HostnameClaim.hostname.is_not(None)
    )


def _found(rows: Iterable[Row]) -> list[Found]:
    by_id: dict[int, list[Row]] = {}
    for row in rows:
        by_id.setdefault(row[2], []).append(row)
    return [
        Found(_candidate(those, lambda name: (name,)), those[0][2 + _FINGERPRINT])
        for those in by_id.values()
    ]


def _the_one(found: Iterable[Servable], chosen: Candidate | None) -> Servable | None:
    if chosen is None:
        return None
    wanted = chosen.this_version
    return next((one for one in found if one.candidate.this_version == wanted), None)


def _with_keys(statement: Any) -> Any:
    """`statement` about certificates, with their keys. Those without stay: they have owners too."""
    return statement.outerjoin(PrivateKey, OF_KEY).outerjoin(
        UserDataKey, UserDataKey.user_id == Certificate.user_id
    )


def candidate_of(
    row: Row, hostnames: Iterable[str], owned: Iterable[str] | None = None
) -> Candidate:
    """The candidate of a row that begins with DECIDING; of its `hostnames` its user owns those in
    `owned` (None: all)."""
    (
        certificate_id,
        user_id,
        version,
        active,
        not_before,
        not_after,
        trust,
        key_algorithm,
        _,
        key_version,
        serve_not_before,
        serve_not_after,
        not_servable,
    ) = row[: len(DECIDING)]
    return Candidate(
        certificate_id,
        user_id,
        version,
        active,
        frozenset(hostnames),
        not_before,
        not_after,
        trust,
        key_algorithm and key_type_of(key_algorithm),
        key_version is not None,
        serve_not_before,
        serve_not_after,
        not_servable,
        None if owned is None else frozenset(owned),
    )


def candidate_of_certificate(one: Certificate) -> Candidate:
    """The candidate of a certificate that was read as an object; its key is taken to be stored."""
    return Candidate(
        one.id,
        one.user_id,
        one.version,
        one.active,
        names_of(one.hostnames),
        one.not_before,
        one.not_after,
        one.trust,  # pyrefly: ignore[bad-argument-type]
        one.key_algorithm and key_type_of(one.key_algorithm),
        True,
        one.serve_not_before,
        one.serve_not_after,
        one.not_servable,  # pyrefly: ignore[bad-argument-type]
    )


def servables(
    rows: Iterable[Row], names: Callable[[str], Iterable[str]] = names_of
) -> list[Servable]:
    """The certificates of rows, in their order, that have names, owned names, DECIDING and SERVING:
    several rows for one where it was found by several names, or its user has several data keys."""
    grouped: dict[int, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row[2], []).append(row)
    found = []
    for those in grouped.values():
        data_keys = {row[-3]: row[-3:] for row in those}
        first = those[0][2:]
        fingerprint, chain_pem, sealed = first[_FINGERPRINT], first[_CHAIN], first[_SEALED]
        candidate = _candidate(those, names)
        found.append(Servable(candidate, fingerprint, chain_pem, sealed, [*data_keys.values()]))
    return found


def _candidate(rows: list[Row], names: Callable[[str], Iterable[str]]) -> Candidate:
    """The candidate of rows that begin with names, owned names (None: none) and DECIDING."""
    hostnames = [name for column in {row[0] for row in rows} for name in names(column)]
    owned = [name for column in {row[1] for row in rows} - {None} for name in names(column)]
    return candidate_of(rows[0][2:], hostnames, owned)
