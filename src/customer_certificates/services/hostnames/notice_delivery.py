"""Processes the outbox: notifies users of what happened to their hostnames."""

import logging
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import load_only

from ...errors import Finding, Unavailable
from ...gateways.database import Database, Transaction, int_param
from ...models import Certificate, CertificateHostname, HostnameClaim, HostnameNotice, User
from ..audit.log import Audit
from ..events.log import Events
from ..principal import WORKER
from ..revisions import Revisions
from .findings import (
    CONTESTED,
    PROOF_MISSING,
    RELEASED,
    with_hostname_finding,
    without_hostname_findings,
)
from .notices import NoticeKind

_MOST_IN_A_RUN = 500
_CODES = {"released": RELEASED, "contested": CONTESTED, "proof_missing": PROOF_MISSING}
# These resolve earlier findings about the hostname.
_RESOLVING = ("contest_closed", "verified")
_DETAILS = {
    "released": "{name} is no longer the user's hostname: {why}.",
    "contested": "{name} is contested: another user proved control of it, too.",
    "proof_missing": "{name} lost its proof of control: the challenge's record was not found.",
}
_WHY = {
    "operator": "an operator released it",
    "public_ca": "another user has a certificate of a public CA for it",
    "challenge": "another user proved control of it",
    "none": "another user proved control of an overlapping hostname",
    "user": "the user released it",
}
_HINT = (
    "Prove control by a challenge (POST /users/{user_id}/hostnames/{name}/challenge), "
    "or ask an operator."
)

_log = logging.getLogger(__name__)


class HostnameNoticeDelivery:
    """Handles each row of the outbox in a transaction of its user, which also deletes the row.

    The transaction writes the event, deliveries, findings of active certificates, and audit.
    """

    def __init__(
        self, database: Database, revisions: Revisions, audit: Audit, events: Events
    ) -> None:
        self._database = database
        self._revisions = revisions
        self._audit = audit
        self._events = events
        self._queued = database.prepare(
            select(HostnameNotice.id, HostnameNotice.user_id)
            .where(HostnameNotice.id > int_param("after"))
            .order_by(HostnameNotice.id)
            .limit(_MOST_IN_A_RUN),
            tenant=None,
        )

    def run(self) -> int:
        """Notifies users, and returns the number of handled notices. Raises Unavailable."""
        number = after = 0
        while rows := self._queued(after=after):
            number += sum(self._handle(notice_id, user_id) for notice_id, user_id in rows)
            # Failed notices wait for the next run, and do not delay later ones.
            after = rows[-1][0]
        return number

    def _handle(self, notice_id: int, user_id: int) -> bool:
        try:
            with self._database.begin(user_id) as session:
                user = session.get(User, user_id, with_for_update=True)
                # Another worker may have handled it, or the user was deleted.
                notice: Any = session.execute(
                    delete(HostnameNotice)
                    .where(HostnameNotice.id == notice_id)
                    .returning(HostnameNotice.hostname, HostnameNotice.kind, HostnameNotice.reason)
                ).one_or_none()
                if user and notice:
                    self._notify(session, user_id, *notice)
        except Unavailable as error:
            # The error may concern only this user, whose row is locked.
            _log.warning("Notice %s about a hostname postponed: %s", notice_id, error.detail)
            return False
        except Exception:
            # A failed notice must not delay others. It stays in the outbox.
            _log.exception("Notice %s about a hostname failed", notice_id)
            return False
        return True

    def _notify(
        self, session: Transaction, user_id: int, hostname: str, kind: NoticeKind, reason: str
    ) -> None:
        if kind in _CODES and not (kind == "released" and _owns(session, user_id, hostname)):
            self._change_findings(
                session, user_id, hostname, _finding(user_id, hostname, kind, reason)
            )
        elif kind in _RESOLVING and _owns(session, user_id, hostname):
            self._change_findings(session, user_id, hostname, None)
        event_type: Any = f"hostname.{kind}"
        self._audit.record(
            session,
            WORKER,
            event_type,
            user_id,
            f"/users/{user_id}/hostnames/{hostname}",
            detail={"hostname": hostname, "reason": reason},
            also=self._events.calls(event_type, user_id, hostname=hostname),
        )

    def _change_findings(
        self, session: Transaction, user_id: int, hostname: str, finding: Finding | None
    ) -> None:
        """Replaces the finding of active certificates about the hostname; None removes it."""
        certificates = session.scalars(
            select(Certificate)
            # A user may have thousands of certificates for one hostname.
            .options(load_only(Certificate.findings))
            .join(CertificateHostname, CertificateHostname.certificate_id == Certificate.id)
            .where(
                CertificateHostname.user_id == user_id,
                CertificateHostname.hostname == hostname,
                Certificate.active,
            )
        ).all()
        for certificate in certificates:
            before = certificate.findings
            certificate.findings = (
                with_hostname_finding(before, finding, hostname)
                if finding
                else without_hostname_findings(before, hostname)
            )
        has_changed = any(session.is_modified(certificate) for certificate in certificates)
        session.flush()
        if has_changed:
            self._revisions.replace(session, user_id)


def _finding(user_id: int, hostname: str, kind: NoticeKind, reason: str) -> Finding:
    return Finding(
        _CODES[kind],
        "hostnames",
        _DETAILS[kind].format(name=hostname, why=_WHY.get(reason, reason)),
        _HINT.format(user_id=user_id, name=hostname),
        "warning",
    )


def _owns(session: Transaction, user_id: int, hostname: str) -> bool:
    """Returns whether the user owns the hostname again."""
    claim = session.get(HostnameClaim, hostname)
    return claim is not None and claim.user_id == user_id
