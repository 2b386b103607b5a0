"""Writes the outbox: notices to users about changes to their hostnames."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import false, insert, literal, select, true
from sqlalchemy.orm import aliased

from ...gateways.database import Database, Transaction, int_param, text_param, time_param
from ...gateways.database.sql_functions import announce, as_json, items_of, this_transaction
from ...models import Certificate, CertificateHostname, Event, HostnameClaim, HostnameNotice
from ..events.log import HOSTNAMES_CHANGED
from .claims import OF_CLAIM

# released: the user lost the hostname. transferred: the user got it from another user, or by a
# grant. contested: another user proved control, too. contest_closed: the owner keeps it.
# proof_missing: its proof was not found. verified: a challenge proved it, or its proof was found
# again.
NoticeKind = Literal[
    "released", "transferred", "contested", "contest_closed", "proof_missing", "verified"
]


class HostnameNotices:
    """Writes notices for users and agents, in the transaction that changes claims.

    The rows of other users are not locked. The worker does the rest in their own transactions.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        names = items_of(text_param("hostnames"))
        user_id = int_param("user_id")
        served = (
            select(CertificateHostname.certificate_id)
            .join(HostnameClaim, OF_CLAIM)
            .where(HostnameClaim.hostname.in_(select(names.c.value)))
        )
        gained = served.where(HostnameClaim.user_id == user_id, _is_one_of_several(user_id))
        self._resend = database.prepare(_events_about(served))
        self._resend_gained = database.prepare(_events_about(gained))

    def add(
        self,
        session: Transaction,
        user_id: int,
        hostnames: Iterable[str],
        kind: NoticeKind,
        reason: str,
    ) -> None:
        """Queues a notice to the user; across tenants if it is another user."""
        notice = {"user_id": user_id, "kind": kind, "reason": reason, "at": self._now()}
        if notices := [{**notice, "hostname": hostname} for hostname in hostnames]:
            session.execute(insert(HostnameNotice), notices)

    def resend(self, session: Transaction, hostnames: Sequence[str]) -> None:
        """Queues all tenants' active certificates for `hostnames` for the feed again."""
        session.run(self._resend, hostnames=as_json(hostnames), at=self._now())

    def resend_gained(self, session: Transaction, user_id: int, hostnames: Sequence[str]) -> None:
        """Queues the user's certificates for newly claimed `hostnames` for the feed again.

        This applies if there are several: those that were active before were not served for these
        hostnames.
        """
        session.run(
            self._resend_gained, user_id=user_id, hostnames=as_json(hostnames), at=self._now()
        )


def _is_one_of_several(user_id: Any) -> Any:
    """Returns the condition that the user has another active certificate for a hostname."""
    other, other_name = aliased(Certificate), aliased(CertificateHostname)
    # Looked up by id: a join may read all certificates for each hostname.
    is_active = select(other.active).where(other.id == other_name.certificate_id).scalar_subquery()
    return (
        select(other_name.hostname)
        .where(
            other_name.hostname == CertificateHostname.hostname,
            other_name.user_id == user_id,
            other_name.certificate_id != CertificateHostname.certificate_id,
            is_active,
        )
        .correlate(CertificateHostname)
        .exists()
    )


def _events_about(certificate_ids: Any) -> Any:
    """Inserts an event for each active certificate with one of the ids; only agents read it.

    The ids are found once. PostgreSQL's statistics may still be those of empty tables, and it would
    then search the ids for each existing certificate.
    """
    ids = certificate_ids.cte("ids").prefix_with("MATERIALIZED")
    copied = ("version", "hostnames", "not_after", "fingerprint_sha256")
    columns = ["xid", "user_id", "type", "at", "certificate_id", "active", "notify", *copied]
    changed = select(
        this_transaction(),
        Certificate.user_id,
        literal(HOSTNAMES_CHANGED),
        time_param("at"),
        Certificate.id,
        true(),
        false(),
        *(getattr(Certificate, name) for name in copied),
    ).where(Certificate.active, Certificate.id.in_(select(ids.c.certificate_id)))
    return insert(Event).from_select(columns, changed).returning(announce())
