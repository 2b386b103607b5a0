"""Performs scheduled cutovers when they are due (docs/decisions/0035)."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import func, select

from ....errors import Conflict, Finding, NotFound
from ....gateways.database import Database, Transaction, time_param
from ....models import Certificate
from ...audit.log import Audit
from ...events.log import Events, EventType, state_of
from ...hostnames.findings import without_hostname_findings
from ...hostnames.ownership import Hostnames, evidence_of_row
from ...keys.private_keys import PrivateKeys
from ...principal import WORKER
from ...quotas.usage import Usage
from ...revisions import Revisions
from ..candidates import candidate_of_content
from ..contents import certificate_path, content_of_row, locked_certificate
from .pending import PendingVersions, pending_state
from .renewal_rules import require_served_at
from .store import VersionStore

_MOST_IN_A_RUN = 500
_LONGEST_RUN = timedelta(seconds=10)
_ACTION = "certificate.cut_over"

_log = logging.getLogger(__name__)


class Cutovers:
    """Performs each cutover in its own transaction, under the lock of the user's row.

    Another worker, or a restarted one, thus does not repeat completed cutovers.
    """

    def __init__(
        self,
        database: Database,
        hostnames: Hostnames,
        audit: Audit,
        events: Events,
        now: Callable[[], datetime],
    ) -> None:
        private_keys, revisions = PrivateKeys(database), Revisions(database, now)
        self._database = database
        self._hostnames = hostnames
        self._revisions = revisions
        self._store = VersionStore(database, hostnames, revisions, private_keys, now)
        self._pending = PendingVersions(private_keys)
        self._usage = Usage(database)
        self._audit = audit
        self._events = events
        self._now = now
        # The first cutover of each user comes first, so that a user with many does not delay
        # others.
        turn = func.row_number().over(
            partition_by=Certificate.user_id, order_by=(Certificate.activate_at, Certificate.id)
        )
        due = (
            select(Certificate.user_id, Certificate.id, Certificate.activate_at, turn.label("turn"))
            .where(Certificate.activate_at <= time_param("now"))
            .subquery()
        )
        self._due = database.prepare(
            select(due.c.user_id, due.c.id)
            .order_by(due.c.turn, due.c.activate_at, due.c.id)
            .limit(_MOST_IN_A_RUN),
            tenant=None,
        )

    def run(self) -> int:
        """Performs due cutovers, and returns their number.

        The next run continues with the rest. Raises Unavailable.
        """
        now = self._now()
        end, performed = now + _LONGEST_RUN, 0
        for user_id, certificate_id in self._due(now=now):
            if self._now() > end:
                break
            try:
                performed += self._cut_over(user_id, certificate_id)
            except NotFound:
                continue
            except Exception:
                # A failed cutover must not delay later ones. It stays due.
                _log.exception("The cutover of certificate %s failed", certificate_id)
        return performed

    def _cut_over(self, user_id: int, certificate_id: int) -> bool:
        pending = None
        try:
            with self._database.begin(user_id) as session:
                certificate = locked_certificate(session, user_id, certificate_id)
                if not self._is_due(certificate):
                    return False
                pending = certificate.pending
                self._perform(session, certificate)
                return True
        except Conflict as refusal:
            self._give_up(user_id, certificate_id, pending, refusal)
            return False

    def _is_due(self, certificate: Certificate) -> bool:
        return certificate.activate_at is not None and certificate.activate_at <= self._now()

    def _perform(self, session: Transaction, certificate: Certificate) -> None:
        """Activates the pending version, or the current one if none is pending.

        Raises Conflict if it could not be served now, or the user cannot claim a hostname.
        """
        now = self._now()
        pending = self._pending.find(session, certificate)
        content = content_of_row(pending or certificate)
        with self._usage.counted(session, certificate.user_id, certificate.id, enforce=False):
            require_served_at(candidate_of_content(content, certificate), now, ())
            if pending:
                self._pending.release(session, certificate)
                self._store.put(session, certificate, {**content, "updated_at": now})
            else:
                self._activate(session, certificate, now)
            certificate.activate_at = certificate.pending = None
            session.flush()
        kind: EventType = "certificate.replaced" if pending else "certificate.activated"
        self._audit.record(
            session,
            WORKER,
            _ACTION,
            certificate.user_id,
            certificate_path(certificate.user_id, certificate.id),
            detail={
                "version": certificate.version,
                "fingerprint_sha256": certificate.fingerprint_sha256,
            },
            also=self._events.calls(kind, certificate.user_id, state_of(certificate)),
        )

    def _activate(self, session: Transaction, certificate: Certificate, now: datetime) -> None:
        certificate.active = True
        certificate.findings = without_hostname_findings(certificate.findings)
        certificate.watch_expiry(now)
        session.flush()
        user_id, evidence = certificate.user_id, evidence_of_row(certificate, now)
        self._hostnames.claim(session, user_id, certificate.hostnames, evidence)
        self._revisions.replace(session, user_id)

    def _give_up(
        self, user_id: int, certificate_id: int, pending: str | None, refusal: Conflict
    ) -> None:
        """Keeps the current version, and records the reason as a finding and an event."""
        with self._database.begin(user_id) as session:
            certificate = locked_certificate(session, user_id, certificate_id)
            if certificate.pending != pending or not self._is_due(certificate):
                return
            failed = pending_state(certificate)
            with self._usage.counted(session, user_id, certificate_id, enforce=False):
                self._pending.remove(session, certificate)
                certificate.findings = _with_failure(certificate.findings, failed.version, refusal)
                certificate.watch_expiry(self._now())
                session.flush()
            self._revisions.replace(session, user_id)
            statements = self._events.calls("certificate.cutover_failed", user_id, failed)
            self._audit.record(
                session,
                WORKER,
                _ACTION,
                user_id,
                certificate_path(user_id, certificate_id),
                outcome="refused",
                detail={"reasons": sorted({finding.code for finding in refusal.errors})},
                also=statements,
            )


def _with_failure(findings: str, version: int, refusal: Conflict) -> str:
    """Returns findings (JSON) with the failure of a cutover to `version`.

    It replaces that of an earlier cutover, so that the list does not grow with each one.
    """
    reasons = " ".join(finding.detail for finding in refusal.errors)
    detail = f"Version {version} could not be activated as scheduled. {reasons}"
    hint = "Correct the problem, and upload the certificate again."
    failure = Finding("cutover_failed", "activate_at", detail, hint, "warning")
    others = msgspec.json.decode(findings, type=list[Finding])
    kept = [finding for finding in others if finding.code != failure.code]
    return msgspec.json.encode([*kept, failure]).decode()
