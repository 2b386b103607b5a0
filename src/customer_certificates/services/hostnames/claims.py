"""Statements that read and write hostname claims. pki/names/ownership.py has the rules."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zlib import crc32

from sqlalchemy import (
    Boolean,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    true,
)

from ...gateways.database import Database, Transaction, int_param, text_param, time_param
from ...gateways.database.prepared import Prepared
from ...gateways.database.sql_functions import (
    advisory_lock,
    as_json,
    from_first_dot,
    items_of,
    replacing,
)
from ...models import Certificate, CertificateHostname, HostnameClaim, User
from ...pki.names.hostnames import wildcard_of
from ...pki.names.ownership import UNPROVEN, Claim, Evidence, Existing, covering

# The limit of concurrent transactions that claim hostnames (PostgreSQL).
_ZONES = 64
_CLAIM = (
    HostnameClaim.hostname,
    HostnameClaim.user_id,
    HostnameClaim.proof,
    HostnameClaim.proven_at,
    HostnameClaim.proof_until,
)
# The claim of a certificate's user on one of its hostnames.
OF_CLAIM = and_(
    HostnameClaim.hostname == CertificateHostname.hostname,
    HostnameClaim.user_id == CertificateHostname.user_id,
)


# A condition on a claim: its user has an active certificate for its hostname.
IS_IN_USE = (
    select(CertificateHostname.hostname)
    .join(Certificate, Certificate.id == CertificateHostname.certificate_id)
    .where(OF_CLAIM, Certificate.active)
    .correlate(HostnameClaim)
    .exists()
)


class HostnameClaims:
    """Reads and writes claims within a transaction.

    A name and the wildcard that covers it are in the same zone. A transaction locks the zones of
    its names in ascending order before it reads claims, so two users cannot claim a name and its
    wildcard at the same moment. It never locks another user's row in `users`.
    """

    def __init__(self, database: Database) -> None:
        names = items_of(text_param("hostnames"))
        given = select(names.c.value)
        user_id = int_param("user_id")
        is_mine, is_named = HostnameClaim.user_id == user_id, HostnameClaim.hostname.in_(given)
        self._lock = database.prepare(select(advisory_lock(names.c.value)).select_from(names))
        self._named = database.prepare(select(*_CLAIM).where(is_named), tenant=None)
        of_others_beneath = HostnameClaim.wildcard.in_(given), HostnameClaim.user_id != user_id
        beneath = select(*_CLAIM, HostnameClaim.wildcard)
        self._unproven_beneath = database.prepare(
            beneath.where(*of_others_beneath, HostnameClaim.proof == "none")
        )
        lowest = select(func.min(HostnameClaim.hostname)).where(*of_others_beneath)
        self._one_beneath = database.prepare(
            beneath.where(HostnameClaim.hostname.in_(lowest.group_by(HostnameClaim.wildcard)))
        )
        self._write = database.prepare(_write(names.c.value, user_id))
        self._release_others = database.prepare(delete(HostnameClaim).where(~is_mine, is_named))
        self._release = database.prepare(delete(HostnameClaim).where(is_mine, is_named))
        ends_with_use = or_(HostnameClaim.proof == "none", HostnameClaim.proof == "public_ca")
        self._release_unused = database.prepare(
            delete(HostnameClaim)
            .where(is_mine, is_named, ends_with_use, ~IS_IN_USE)
            .returning(HostnameClaim.hostname)
        )

    def lock(self, session: Transaction, hostnames: Iterable[str]) -> None:
        """Locks the zones of `hostnames` until the transaction ends.

        Call it once in a transaction, with all names: a second call could deadlock.
        """
        zones = sorted({crc32(wildcard_of(name).encode()) % _ZONES for name in hostnames})
        session.run(self._lock, hostnames=as_json([str(zone) for zone in zones]))

    def existing(
        self,
        session: Transaction | None,
        user_id: int,
        hostnames: Sequence[str],
        evidence: Evidence,
    ) -> Existing:
        """Returns the claims that matter if the user claims `hostnames` with `evidence`.

        Without a transaction, they are those of this moment.
        """
        run = session.run if session else Prepared.__call__
        above = [wildcard for name in hostnames if (wildcard := covering(name))]
        claims = run(self._named, hostnames=as_json([*dict.fromkeys([*hostnames, *above])]))
        beneath: dict[str, list[Claim]] = {}
        if wildcards := [name for name in hostnames if name.startswith("*.")]:
            read = self._one_beneath if evidence.proof == "none" else self._unproven_beneath
            for *row, wildcard in run(read, user_id=user_id, hostnames=as_json(wildcards)):
                beneath.setdefault(wildcard, []).append(_claim(row))
        return Existing({row[0]: _claim(row) for row in claims}, beneath)

    def claim_of(self, hostname: str) -> Claim | None:
        """Returns the claim of a hostname at this moment, if there is one."""
        return self.existing(None, 0, [hostname], UNPROVEN).claims.get(hostname)

    def number(
        self, session: Transaction, user_id: int, *, unproven: bool
    ) -> tuple[int, str | None]:
        """Returns the number of (unproven) claims of the user, and the column `users.quotas`."""
        number = select(func.count()).where(HostnameClaim.user_id == user_id)
        if unproven:
            number = number.where(HostnameClaim.proof == "none")
        counted = select(number.scalar_subquery(), User.quotas).where(User.id == user_id)
        claims, quotas = session.execute(counted).one()
        return claims, quotas

    def all_of(self, session: Transaction, user_id: int) -> list[str]:
        """Returns all hostnames that the user claims."""
        claimed = select(HostnameClaim.hostname).where(HostnameClaim.user_id == user_id)
        return [*session.scalars(claimed)]

    def write(
        self,
        session: Transaction,
        user_id: int,
        hostnames: Iterable[str],
        evidence: Evidence,
        now: datetime,
    ) -> set[str]:
        """Stores the user's claims of `hostnames`. Returns those that the user owns afterwards."""
        by_kind: dict[bool, list[str]] = {}
        for name in hostnames:
            by_kind.setdefault(covering(name) is not None, []).append(name)
        written: set[str] = set()
        for is_covered, names in by_kind.items():
            rows = session.run(
                self._write,
                user_id=user_id,
                hostnames=as_json(names),
                is_covered=is_covered,
                proof=evidence.proof,
                proven_at=evidence.since,
                proof_until=evidence.until,
                now=now,
            )
            written.update(name for (name,) in rows)
        return written

    def release_others(self, session: Transaction, user_id: int, hostnames: Sequence[str]) -> None:
        """Deletes other users' claims of `hostnames`, across tenants."""
        session.run(self._release_others, user_id=user_id, hostnames=as_json(hostnames))

    def release(self, session: Transaction, user_id: int, hostnames: Sequence[str]) -> None:
        """Deletes the user's claims of `hostnames`, whatever proves them."""
        session.run(self._release, user_id=user_id, hostnames=as_json(hostnames))

    def release_unused(
        self, session: Transaction, user_id: int, hostnames: Sequence[str]
    ) -> list[str]:
        """Deletes claims without an active certificate or a lasting proof. Returns their names."""
        rows = session.run(self._release_unused, user_id=user_id, hostnames=as_json(hostnames))
        return [name for (name,) in rows]


def _write(name: Any, user_id: Any) -> Any:
    columns = ["hostname", "user_id", "wildcard", "proof", "claimed_at", "proven_at", "proof_until"]
    is_covered: Any = bindparam("is_covered", type_=Boolean)
    values = select(
        name,
        user_id,
        case((is_covered, literal("*", Text) + from_first_dot(name)), else_=null()),
        text_param("proof"),
        time_param("now"),
        time_param("proven_at"),
        time_param("proof_until"),
    ).where(true())
    proof = (HostnameClaim.proof, HostnameClaim.proven_at, HostnameClaim.proof_until)
    written = replacing(
        HostnameClaim, HostnameClaim.hostname, proof, where=HostnameClaim.user_id == user_id
    )
    return written.from_select(columns, values.order_by(name)).returning(HostnameClaim.hostname)


def _claim(row: Sequence[Any]) -> Claim:
    hostname, user_id, proof, proven_at, proof_until = row
    return Claim(hostname, user_id, Evidence(proof, proven_at, proof_until))
