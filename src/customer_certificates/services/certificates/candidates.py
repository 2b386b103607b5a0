"""Reads from the database the certificates that may be served for a hostname."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, case, select, union

from ...gateways.database import Database, int_param, text_param
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import array_of, ids_as_json, ids_of, names_of
from ...models import Certificate, CertificateHostname, HostnameClaim, PrivateKey, UserDataKey
from ...pki.names.hostnames import wildcard_of
from ...pki.selection import Candidate, key_type_of
from ..hostnames.claims import OF_CLAIM
from ..keys.data_keys import WRAPPED
from .contents import content_of_row

# The limit of certificates that are read with their chains and keys.
_MOST_WITH_CHAINS = 8
# A certificate may be replaced between the selection and the read.
_MOST_ATTEMPTS = 3
# The limit of newest certificates that are read for a name.
_MOST = 200

# The columns that decide whether a certificate is served.
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
# Further columns, needed to serve it; keys are still encrypted.
SERVING = (Certificate.chain_pem, PrivateKey.sealed, *WRAPPED)
OF_KEY = and_(
    PrivateKey.certificate_id == Certificate.id, PrivateKey.version == Certificate.version
)
# The hostnames of a certificate that its user owns, as JSON.
OWNED_NAMES = (
    select(array_of(CertificateHostname.hostname))
    .join(HostnameClaim, OF_CLAIM)
    .where(CertificateHostname.certificate_id == Certificate.id)
    .correlate(Certificate)
    .scalar_subquery()
)

_LIMIT = int_param("limit")
_NAMES: list[Any] = [text_param("hostname"), text_param("wildcard")]
# Certificates of the exact hostname's owner first, then the newest.
_ORDER = (case((HostnameClaim.hostname == _NAMES[0], 0), else_=1), Certificate.id.desc())


class Found(NamedTuple):
    """A certificate that is a candidate for a hostname."""

    candidate: Candidate
    fingerprint_sha256: str | None


class Servable(NamedTuple):
    """An active certificate with everything needed to serve it.

    Its key is encrypted with one of the user's `data_keys`, which are wrapped: rows of WRAPPED. If
    its candidate is not servable, any other field may be missing.
    """

    candidate: Candidate
    fingerprint_sha256: str
    chain_pem: str
    sealed: bytes
    data_keys: list[Row]


class Candidates:
    """Reads the candidates for a hostname, of all users."""

    def __init__(self, database: Database) -> None:
        self._found = database.prepare(
            _deciding([*_newest(served=True), *_newest(served=False)])
            .outerjoin(PrivateKey, OF_KEY)
            .order_by(
                Certificate.active.desc(),
                # The owner's certificates come first, so that the limit never cuts them off,
                # however many certificates other users have.
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
        self._with_keys = database.prepare(
            _with_keys(select(Certificate.hostnames, OWNED_NAMES, *DECIDING, *SERVING))
            .where(Certificate.id.in_(ids_of("ids")), Certificate.active)
            .order_by(Certificate.id),
            tenant=None,
        )

    def with_keys(self, certificate_ids: Iterable[int]) -> list[Servable]:
        """Returns the active ones among the certificates, by id."""
        return servables(self._with_keys(ids=ids_as_json(certificate_ids)))

    def of(self, hostname: str) -> list[Found]:
        """Returns the candidates, some hundreds at most.

        Active ones come first: those of the hostname's owner, then those of the wildcard's owner.
        Within each group the newest comes first.
        """
        return _found(self._found(**_named(hostname), limit=_MOST))

    def served(self, hostname: str) -> list[Found]:
        """Returns the active candidates whose users own the hostname or the wildcard."""
        return _found(self._served(**_named(hostname), limit=_MOST))

    def servable(
        self, hostname: str, choose: Callable[[list[Candidate]], Candidate | None]
    ) -> Servable | None:
        """Returns the active certificate that `choose` selects, with everything needed to serve it.

        One statement reads all of them with their chains and keys. If there are very many for one
        hostname, the selection is made without chains and keys.
        """
        rows = self._serving(**_named(hostname), limit=_MOST_WITH_CHAINS)
        if len(rows) < _MOST_WITH_CHAINS:
            found = servables(rows, lambda name: (name,))
            return _version_of(choose([item.candidate for item in found]), found)
        for _ in range(_MOST_ATTEMPTS):
            chosen = choose([item.candidate for item in self.served(hostname)])
            if chosen is None:
                break
            # Another version may have been stored since the selection.
            if servable := _version_of(chosen, self.with_keys([chosen.certificate_id])):
                return servable
        return None


def _named(hostname: str) -> dict[str, str]:
    return {"hostname": hostname, "wildcard": wildcard_of(hostname)}


def _newest(*, served: bool) -> list[Select[*tuple[Any, ...]]]:
    """Selects the newest certificates for two names: all of them, or the owner's active ones.

    Each name is read from the end of an index, so the number of other certificates does not matter.
    """
    selects: list[Select[*tuple[Any, ...]]] = []
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
        # SQLite accepts no limit in a part of a UNION.
        selects.append(select(*newest.subquery().c))
    return selects


def _deciding(found: Iterable[Select[*tuple[Any, ...]]], *columns: Any) -> Select[*tuple[Any, ...]]:
    """Selects a name, the name again if it is owned, DECIDING and `columns` of certificates."""
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
    """Selects the same rows, but only of active certificates whose users own the name."""
    return _deciding(_newest(served=True), *columns).where(
        Certificate.active, HostnameClaim.hostname.is_not(None)
    )


def _by_certificate(rows: Iterable[Row]) -> Iterable[list[Row]]:
    """Groups rows that have two columns of names and DECIDING."""
    by_id: dict[int, list[Row]] = {}
    for row in rows:
        by_id.setdefault(row[2], []).append(row)
    return by_id.values()


def _found(rows: Iterable[Row]) -> list[Found]:
    return [
        Found(_candidate(group, lambda name: (name,)), group[0][2 + _FINGERPRINT])
        for group in _by_certificate(rows)
    ]


def _version_of(chosen: Candidate | None, servable: Iterable[Servable]) -> Servable | None:
    """Returns the version `chosen` among those that were read with their keys."""
    version = chosen and chosen.this_version
    return next((item for item in servable if item.candidate.this_version == version), None)


def _with_keys(statement: Any) -> Any:
    """Adds the keys to `statement`, which reads certificates.

    Certificates without a key are kept: they also have owners.
    """
    return statement.outerjoin(PrivateKey, OF_KEY).outerjoin(
        UserDataKey, UserDataKey.user_id == Certificate.user_id
    )


def candidate_of(
    row: Row, hostnames: Iterable[str], owned: Iterable[str] | None = None
) -> Candidate:
    """Returns the candidate of a row that begins with DECIDING.

    Its user owns those `hostnames` that are in `owned` (None: all).
    """
    certificate_id, user_id, version, active, not_before, not_after, trust = row[:7]
    key_algorithm, _fingerprint, key_version, begin, end, not_servable = row[7 : len(DECIDING)]
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
        begin,
        end,
        not_servable,
        None if owned is None else frozenset(owned),
    )


def candidate_of_content(content: Mapping[str, Any], certificate: Certificate | None) -> Candidate:
    """Returns the candidate of the columns CONTENT, assuming that its key is stored.

    `certificate` has or will have these columns; None for a new certificate.
    """
    algorithm = content["key_algorithm"]
    return Candidate(
        certificate.id if certificate else 0,
        certificate.user_id if certificate else 0,
        certificate.version if certificate else 1,
        certificate.active if certificate else False,
        names_of(content["hostnames"]),
        content["not_before"],
        content["not_after"],
        content["trust"],
        algorithm and key_type_of(algorithm),
        True,
        content["serve_not_before"],
        content["serve_not_after"],
        content["not_servable"],
    )


def candidate_of_certificate(certificate: Certificate) -> Candidate:
    """Returns the candidate of a certificate object, assuming that its key is stored."""
    return candidate_of_content(content_of_row(certificate), certificate)


def servables(
    rows: Iterable[Row], names: Callable[[str], Iterable[str]] = names_of
) -> list[Servable]:
    """Returns the certificates of rows, in the order of the rows.

    Rows have names, owned names, DECIDING and SERVING. A certificate has several rows if it was
    found by several names, or if its user has several data keys.
    """
    servable = []
    for group in _by_certificate(rows):
        data_keys = {row[-3]: row[-3:] for row in group}
        columns = group[0][2:]
        fingerprint, chain_pem, sealed = columns[_FINGERPRINT], columns[_CHAIN], columns[_SEALED]
        candidate = _candidate(group, names)
        servable.append(Servable(candidate, fingerprint, chain_pem, sealed, [*data_keys.values()]))
    return servable


def _candidate(rows: list[Row], names: Callable[[str], Iterable[str]]) -> Candidate:
    """Returns the candidate of rows with names, owned names (None: none) and DECIDING."""
    hostnames = [name for column in {row[0] for row in rows} for name in names(column)]
    owned = [name for column in {row[1] for row in rows} - {None} for name in names(column)]
    return candidate_of(rows[0][2:], hostnames, owned)
