"""Whose a hostname is: the user's with an active certificate for it, and nobody else's."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy import BigInteger, Text, bindparam, delete, insert, select, true

from ..errors import Conflict, Finding
from ..gateways.database import Database, Transaction
from ..gateways.prepared import Row
from ..gateways.sql import insert_new, items_of
from ..models import Certificate, CertificateHostname, HostnameClaim
from ..pki.names import wildcard_of

_Hostnames = Annotated[list[str], Meta(examples=[["www.example.com"]])]


class Served(msgspec.Struct):
    """A hostname, and the active certificates that are for it."""

    hostname: Annotated[str, Meta(description="The name.", examples=["www.example.com"])]
    certificate_ids: Annotated[list[int], Meta(description="By id.", examples=[[3]])]


class HostnameChanges(msgspec.Struct):
    """What activating a certificate would change."""

    gained: Annotated[
        _Hostnames, Meta(description="No active certificate of the user is for these yet.")
    ]
    lost: Annotated[
        _Hostnames, Meta(description="Of the certificate that it replaces, and not covered by it.")
    ]
    moved: Annotated[
        list[Served], Meta(description="Other active certificates of the user are for these.")
    ]
    taken: Annotated[_Hostnames, Meta(description="Another user's active certificate has these.")]


class Replaced(NamedTuple):
    """A certificate that is to be replaced: its id, whether it is active, and its hostnames."""

    id: int
    active: bool
    hostnames: Sequence[str]


class Hostnames:
    """The statements about hostnames. A unique constraint decides whose a name is: whoever claims
    it first; a second claim waits for the first one's transaction, and then finds it taken.

    Within a transaction names are claimed before others are freed, and in their order; so two
    transactions cannot wait for one another.
    """

    def __init__(self, database: Database) -> None:
        names = items_of(bindparam("hostnames", type_=Text))
        user_id: Any = bindparam("user_id", type_=BigInteger)
        those = select(names.c.value)
        of_user = CertificateHostname.user_id == user_id
        # The newest certificate of a user whose row is locked is the one just inserted.
        newest = (
            select(Certificate.id)
            .where(Certificate.user_id == user_id)
            .order_by(Certificate.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        columns = ["user_id", "hostname", "certificate_id"]
        self.record_newest = database.prepare(
            insert(CertificateHostname).from_select(columns, select(user_id, names.c.value, newest))
        )
        self._record = database.prepare(
            insert(CertificateHostname).from_select(
                columns,
                select(user_id, names.c.value, bindparam("certificate_id", type_=BigInteger)),
            )
        )
        self._forget = database.prepare(
            delete(CertificateHostname).where(
                CertificateHostname.certificate_id == bindparam("certificate_id")
            )
        )
        self._claim = database.prepare(
            insert_new(HostnameClaim).from_select(
                ["hostname", "user_id"],
                select(names.c.value, user_id).where(true()).order_by(names.c.value),
            )
        )
        self._not_held = database.prepare(
            select(names.c.value, HostnameClaim.user_id)
            .select_from(names)
            .outerjoin(HostnameClaim, HostnameClaim.hostname == names.c.value)
            .where(HostnameClaim.user_id.is_distinct_from(user_id))
            .order_by(names.c.value)
        )
        active = (
            select(CertificateHostname.hostname, Certificate.id)
            .join(Certificate, Certificate.id == CertificateHostname.certificate_id)
            .where(of_user, Certificate.active)
        )
        self._served = database.prepare(
            active.where(CertificateHostname.hostname.in_(those)).order_by(
                CertificateHostname.hostname, Certificate.id
            )
        )
        self._free = database.prepare(
            delete(HostnameClaim).where(
                HostnameClaim.user_id == user_id,
                HostnameClaim.hostname.in_(those),
                ~active.where(CertificateHostname.hostname == HostnameClaim.hostname)
                .correlate(HostnameClaim)
                .exists(),
            )
        )

    def replace(
        self, session: Transaction, user_id: int, certificate_id: int, hostnames: str
    ) -> None:
        """The certificate is for these names (JSON) from now on, and for no others."""
        session.run(self._forget, certificate_id=certificate_id)
        session.run(
            self._record, user_id=user_id, certificate_id=certificate_id, hostnames=hostnames
        )

    def claim(self, session: Transaction, user_id: int, hostnames: str) -> None:
        """The names (JSON) are the user's from now on. Raises Conflict where one is another's."""
        while True:
            session.run(self._claim, user_id=user_id, hostnames=hostnames)
            not_held = session.run(self._not_held, user_id=user_id, hostnames=hostnames)
            if taken := _others(not_held):
                raise _taken(taken)
            if not not_held:
                return
            # Another's at the first look, and nobody's at the second.

    def require_not_taken(self, session: Transaction, user_id: int, hostnames: str) -> None:
        """Raises Conflict where one of the names (JSON) is another user's; claims none."""
        if taken := _others(session.run(self._not_held, user_id=user_id, hostnames=hostnames)):
            raise _taken(taken)

    def free(self, session: Transaction, user_id: int, hostnames: str) -> None:
        """Those of the names (JSON) that no active certificate of the user is for any more are
        nobody's."""
        session.run(self._free, user_id=user_id, hostnames=hostnames)

    def changes(
        self, user_id: int, hostnames: Sequence[str], replaced: Replaced | None
    ) -> HostnameChanges:
        """What activating a certificate for these names would change, in place of `replaced`."""
        given = as_json(hostnames)
        taken = _others(self._not_held(user_id=user_id, hostnames=given))
        ids: dict[str, list[int]] = {}
        for name, certificate_id in self._served(user_id=user_id, hostnames=given):
            if replaced is None or certificate_id != replaced.id:
                ids.setdefault(name, []).append(certificate_id)
        kept = {*taken, *ids, *(replaced.hostnames if replaced and replaced.active else ())}
        return HostnameChanges(
            gained=[name for name in hostnames if name not in kept],
            lost=lost(replaced.hostnames, hostnames) if replaced else [],
            moved=[Served(name, those) for name, those in ids.items()],
            taken=taken,
        )


def lost(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The names of `before` that no name of `after` covers."""
    kept = set(after)
    return [name for name in before if name not in kept and wildcard_of(name) not in kept]


def as_json(hostnames: Sequence[str]) -> str:
    """Names as the statements take them."""
    return msgspec.json.encode(hostnames).decode()


def names_of(hostnames: str) -> list[str]:
    """Names that a row has as JSON."""
    return msgspec.json.decode(hostnames, type=list[str])


def _others(not_held: list[Row]) -> list[str]:
    return [name for name, owner in not_held if owner is not None]


def _taken(names: list[str]) -> Conflict:
    return Conflict(
        "Another user's active certificate has the same hostname; nothing was changed.",
        errors=[
            Finding(
                "hostname_taken",
                "active",
                f"{name} is served with another user's certificate.",
                "Store the certificate inactive, and have the other one deactivated first.",
            )
            for name in names
        ],
    )
