"""Counts how much users store, in their rows, within each changing transaction.

An upload adds to the counters in the statement that locks the user's row. Everything else measures
the certificate before and after its change.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, func, literal, select, update

from ...crypto.sealed_format import HEADER, TAG_BYTES
from ...crypto.secret import Secret
from ...gateways.database import Database, Transaction
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import bytes_of, number_of_items
from ...models import (
    Certificate,
    CertificateHostname,
    CertificateVersion,
    PrivateKey,
    User,
    stored_size,
)
from .limits import Quota, require

# The potentially large columns of a certificate or a version.
_TEXTS = ("body", "chain", "served_pem", "findings", "hostnames", "subject", "issuer")


class Use(NamedTuple):
    """How much is stored for a user, or for one certificate with all its versions.

    `hostnames` counts a name once for each certificate. The names of a pending version count, too,
    so its cutover never exceeds a quota. `versions` are the earlier and pending ones.
    `stored_bytes` are those of texts and encrypted keys.
    """

    certificates: int = 0
    hostnames: int = 0
    versions: int = 0
    stored_bytes: int = 0

    def minus(self, other: "Use") -> "Use":
        """Returns the difference between this and `other`."""
        return Use(*(mine - its for mine, its in zip(self, other, strict=True)))


COUNTERS = (User.certificate_count, User.hostname_count, User.version_count, User.stored_bytes)
# The quota of each counter.
COUNTER_QUOTAS: tuple[Quota, ...] = ("certificates", "hostnames", "versions", "stored_bytes")
# The columns of the user's row that statements return for `require_room`.
RETURNED = (*COUNTERS, User.quotas)
_parameters = tuple(f"more_{name}" for name in Use._fields)


def of_new(content: Mapping[str, Any], hostnames: int, key: Secret) -> Use:
    """Returns the use of a new certificate with this content, number of hostnames, and key."""
    texts = sum(stored_size(content[name]) for name in _TEXTS if content[name])
    sealed = HEADER.size + len(key.reveal()) + TAG_BYTES
    return Use(1, hostnames, 0, texts + sealed)


def counters_with_more() -> dict[Any, Any]:
    """Returns the values of an update that adds the parameters of `added` to a user's row."""
    return {
        column: column + bindparam(name, type_=column.type)
        for column, name in zip(COUNTERS, _parameters, strict=True)
    }


def added(increase: Use) -> dict[str, int]:
    """Returns the parameters of `counters_with_more`."""
    return dict(zip(_parameters, increase, strict=True))


def require_room(row: Row, increase: Use) -> None:
    """Raises Conflict if a quota is exceeded that `increase` adds to.

    `row` has the columns RETURNED of the user's row, with `increase` added.
    """
    *used, quotas = row
    for quota, number, more in zip(COUNTER_QUOTAS, used, increase, strict=True):
        if more > 0:
            require(quotas, quota, number)


class Usage:
    """Updates users' counters with each change of a certificate, and recounts them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        of_certificate = Certificate.id == bindparam("certificate_id")
        self._of_certificate = database.prepare(_measured(of_certificate))
        self._add = database.prepare(
            update(User)
            .where(User.id == bindparam("user_id"))
            .values(counters_with_more())
            .returning(*RETURNED)
        )
        self._users = database.prepare(
            select(User.id).where(User.id > bindparam("after")).order_by(User.id).limit(1000),
            tenant=None,
        )

    def measure(self, session: Transaction, certificate_id: int) -> Use:
        """Returns the use of the certificate and its versions; zero if it does not exist."""
        session.flush()
        return Use(*session.run(self._of_certificate, certificate_id=certificate_id)[0])

    @contextmanager
    def counted(
        self, session: Transaction, user_id: int, certificate_id: int, *, enforce: bool = True
    ) -> Iterator[None]:
        """Counts what the block adds to the certificate or frees. The user's row must be locked.

        With `enforce`, raises Conflict if the change exceeds a quota.
        """
        before = self.measure(session, certificate_id)
        yield
        increase = self.measure(session, certificate_id).minus(before)
        if any(increase):
            (row,) = session.run(self._add, user_id=user_id, **added(increase))
            if enforce:
                require_room(row, increase)

    def record_deletion(self, session: Transaction, user_id: int, before: Use) -> None:
        """Counts the deletion of a certificate with its versions; `before` is its earlier use."""
        session.run(self._add, user_id=user_id, **added(Use().minus(before)))

    def recount(self) -> int:
        """Recounts what every user stores, and returns how many counters were wrong.

        They become wrong only if something other than the service changes rows.
        """
        number = after = 0
        while users := self._users(after=after):
            for (after,) in users:
                number += self._recount(after)
        return number

    def _recount(self, user_id: int) -> int:
        with self._database.begin(user_id) as session:
            counters = select(*COUNTERS).where(User.id == user_id).with_for_update()
            for row in session.execute(counters):
                stored = session.execute(_measured(Certificate.user_id == user_id)).one()
                increase = Use(*stored).minus(Use(*row))
                if any(increase):
                    session.run(self._add, user_id=user_id, **added(increase))
                return sum(map(bool, increase))
        return 0


def _measured(condition: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Selects the use of the certificates: a row with the columns of Use."""
    certificates = select(Certificate.id).where(condition)

    def number(of: Any) -> Any:
        return select(func.count()).where(of.in_(certificates)).scalar_subquery()

    def total(of: Any, *columns: Any) -> Any:
        size = sum((func.coalesce(bytes_of(text), 0) for text in columns), start=literal(0))
        total_size = func.coalesce(func.sum(size), 0)
        return select(total_size).where(of.in_(certificates)).scalar_subquery()

    pending_names = (
        select(func.coalesce(func.sum(number_of_items(CertificateVersion.hostnames)), 0))
        .join(Certificate, Certificate.id == CertificateVersion.certificate_id)
        .where(
            Certificate.id.in_(certificates), CertificateVersion.version == Certificate.version + 1
        )
        .scalar_subquery()
    )
    return select(
        number(Certificate.id),
        number(CertificateHostname.certificate_id) + pending_names,
        number(CertificateVersion.certificate_id),
        total(Certificate.id, *(getattr(Certificate, name) for name in _TEXTS))
        + total(
            CertificateVersion.certificate_id,
            *(getattr(CertificateVersion, name) for name in _TEXTS),
        )
        + total(PrivateKey.certificate_id, PrivateKey.sealed),
    )
