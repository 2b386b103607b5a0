"""Previews how an activation would change hostnames."""

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy import select

from ...field_docs import doc
from ...gateways.database import Database, int_param, text_param
from ...gateways.database.sql_functions import as_json, items_of
from ...models import Certificate, CertificateHostname
from ...pki.names.hostnames import wildcard_of
from ...pki.names.ownership import Decision

_Hostnames = Annotated[list[str], Meta(examples=[["www.example.com"]])]


class Served(msgspec.Struct):
    """A hostname, and its active certificates."""

    hostname: Annotated[str, doc("The hostname.", "www.example.com")]
    certificate_ids: Annotated[list[int], doc("The ids of the certificates.", [3])]


class HostnameChanges(msgspec.Struct):
    """The changes that the activation of a certificate would make."""

    gained: Annotated[_Hostnames, doc("Hostnames that no active certificate of the user has yet.")]
    lost: Annotated[_Hostnames, doc("Hostnames of the replaced certificate that this one lacks.")]
    moved: Annotated[
        list[Served], doc("Hostnames that other active certificates of the user have.")
    ]
    taken: Annotated[_Hostnames, doc("Hostnames of another user: 409 `hostname_taken`.")]
    unproven: Annotated[
        _Hostnames, doc("Hostnames without proof of control: 409 `hostname_unproven`.")
    ]
    reserved: Annotated[_Hostnames, doc("Hostnames that need a grant: 409 `hostname_reserved`.")]
    taken_over: Annotated[
        _Hostnames, doc("Hostnames that other users have unproven, and would lose.")
    ]


class Replaced(NamedTuple):
    """The certificate to replace: its id, whether it is active, and its hostnames."""

    id: int
    active: bool
    hostnames: Sequence[str]


class ServedHostnames:
    """Reads which active certificates of a user have given hostnames."""

    def __init__(self, database: Database) -> None:
        names = items_of(text_param("hostnames"))
        user_id = int_param("user_id")
        self._served = database.prepare(
            select(CertificateHostname.hostname, Certificate.id)
            .join(Certificate, Certificate.id == CertificateHostname.certificate_id)
            .where(
                CertificateHostname.user_id == user_id,
                Certificate.active,
                CertificateHostname.hostname.in_(select(names.c.value)),
            )
            .order_by(CertificateHostname.hostname, Certificate.id)
        )

    def changes(
        self, user_id: int, hostnames: Sequence[str], replaced: Replaced | None, decision: Decision
    ) -> HostnameChanges:
        """Returns the effect of `decision` about `hostnames` on the user's certificates."""
        ids: dict[str, list[int]] = {}
        for name, certificate_id in self._served(user_id=user_id, hostnames=as_json(hostnames)):
            if replaced is None or certificate_id != replaced.id:
                ids.setdefault(name, []).append(certificate_id)
        taken = [*decision.taken, *(claim.hostname for claim in decision.contested)]
        reserved = [*decision.reserved, *decision.forbidden]
        served = replaced.hostnames if replaced and replaced.active else ()
        not_gained = {*taken, *decision.unproven, *reserved, *ids, *served}
        return HostnameChanges(
            gained=[name for name in hostnames if name not in not_gained],
            lost=lost(replaced.hostnames, hostnames) if replaced else [],
            moved=[Served(name, served_by) for name, served_by in ids.items()],
            taken=sorted(taken),
            unproven=decision.unproven,
            reserved=reserved,
            taken_over=[claim.hostname for claim in decision.release],
        )


def lost(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Returns the names of `before` that no name of `after` covers."""
    names = set(after)
    return [name for name in before if names.isdisjoint((name, wildcard_of(name)))]
