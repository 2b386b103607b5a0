"""The certificates among which is decided what is served, as the database has them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, Text, and_, bindparam, select

from ..gateways.database import Database
from ..gateways.prepared import Row
from ..gateways.sql import ids_as_json, ids_of
from ..models import Certificate, CertificateHostname, PrivateKey, UserKey
from ..pki.names import wildcard_of
from ..pki.winners import Candidate, key_type_of
from .data_keys import WRAPPED
from .hostname_claims import names_of

_MOST_WITH_CHAINS = 8
# Of a certificate that is replaced all the time, no version is found for which it was chosen.
_MOST_LOOKS = 3
_MOST = 10_000

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


class Found(NamedTuple):
    """A certificate that is a candidate."""

    candidate: Candidate
    fingerprint_sha256: str | None


class Servable(NamedTuple):
    """A certificate with all that is served of it; its key is sealed with one of the user's
    `data_keys`, which are wrapped: rows of WRAPPED."""

    candidate: Candidate
    fingerprint_sha256: str
    chain_pem: str
    sealed: bytes
    data_keys: list[Row]


class Candidates:
    """Reads the candidates for a hostname, whosever they are."""

    def __init__(self, database: Database) -> None:
        names = [bindparam("hostname", type_=Text), bindparam("wildcard", type_=Text)]
        limit = bindparam("limit", type_=BigInteger)

        def named(*columns: Any) -> Select[Any]:
            return (
                select(CertificateHostname.hostname, *columns)
                .join(Certificate, Certificate.id == CertificateHostname.certificate_id)
                .where(CertificateHostname.hostname.in_(names))
                .limit(limit)
            )

        self._deciding = database.prepare(
            named(*DECIDING)
            .outerjoin(PrivateKey, OF_KEY)
            .order_by(Certificate.active.desc(), Certificate.id.desc()),
            tenant=None,
        )
        self._serving = database.prepare(
            with_keys(named(*DECIDING, *SERVING)).where(Certificate.active), tenant=None
        )
        self._those = database.prepare(
            with_keys(select(Certificate.hostnames, *DECIDING, *SERVING))
            .where(Certificate.id.in_(ids_of("ids")), Certificate.active)
            .order_by(Certificate.id),
            tenant=None,
        )

    def with_keys(self, certificate_ids: Iterable[int]) -> list[Servable]:
        """Those of them that are active and can be served, by id."""
        return servables(self._those(ids=ids_as_json(certificate_ids)))

    def of(self, hostname: str, most: int = _MOST) -> list[Found]:
        """The candidates, active ones first, the newest of them first; about `most` at most."""
        rows = self._deciding(hostname=hostname, wildcard=wildcard_of(hostname), limit=most)
        names: dict[int, set[str]] = {}
        for name, certificate_id, *_ in rows:
            names.setdefault(certificate_id, set()).add(name)
        by_id = {row[1]: row for row in rows}
        return [
            Found(candidate_of(row[1:], names[certificate_id]), row[1 + _FINGERPRINT])
            for certificate_id, row in by_id.items()
        ]

    def servable(
        self, hostname: str, choose: Callable[[list[Candidate]], Candidate | None]
    ) -> Servable | None:
        """The one that `choose` chooses, with all that is served of it.

        One statement reads all of them with their chains and keys; where somebody has very many
        for one name, they are decided among without those.
        """
        wildcard = wildcard_of(hostname)
        rows = self._serving(hostname=hostname, wildcard=wildcard, limit=_MOST_WITH_CHAINS)
        if len(rows) < _MOST_WITH_CHAINS:
            found = servables(rows, lambda name: (name,))
            return _the_one(found, choose([one.candidate for one in found]))
        for _ in range(_MOST_LOOKS):
            chosen = choose([one.candidate for one in self.of(hostname)])
            if chosen is None:
                break
            # In between, another version may have come, which nobody has chosen.
            if one := _the_one(self.with_keys([chosen.certificate_id]), chosen):
                return one
        return None


def _the_one(found: Iterable[Servable], chosen: Candidate | None) -> Servable | None:
    if chosen is None:
        return None
    wanted = chosen.this_version
    return next((one for one in found if one.candidate.this_version == wanted), None)


def with_keys(statement: Any) -> Any:
    """`statement` about certificates, of those that have a chain and a key to be served with."""
    return (
        statement.join(PrivateKey, OF_KEY)
        .join(UserKey, UserKey.user_id == Certificate.user_id)
        .where(Certificate.chain_pem.is_not(None))
    )


def candidate_of(row: Row, hostnames: Iterable[str]) -> Candidate:
    """The candidate of a row that begins with DECIDING."""
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
        *serving,
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
        *serving,
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
        one.trust,  # type: ignore[arg-type]
        one.key_algorithm and key_type_of(one.key_algorithm),
        True,
        one.serve_not_before,
        one.serve_not_after,
        one.not_servable,  # type: ignore[arg-type]
    )


def servables(
    rows: Iterable[Row], names: Callable[[str], Iterable[str]] = names_of
) -> list[Servable]:
    """The certificates of rows, in their order, that have names, DECIDING and SERVING: several rows
    for one where it was found by several names, or its user has several data keys."""
    grouped: dict[int, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row[1], []).append(row)
    found = []
    for those in grouped.values():
        name_columns = dict.fromkeys(row[0] for row in those)
        hostnames = [name for column in name_columns for name in names(column)]
        candidate = candidate_of(those[0][1:], hostnames)
        data_keys = {row[-3]: row[-3:] for row in those}
        _, *first = those[0]
        fingerprint, chain_pem, sealed = first[_FINGERPRINT], first[_CHAIN], first[_SEALED]
        found.append(Servable(candidate, fingerprint, chain_pem, sealed, [*data_keys.values()]))
    return found
