"""Versions of a certificate: replace now or at a scheduled time, list, roll back."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, Text, bindparam, cast, literal, null, select, union_all

from ....crypto.secret import Secret
from ....errors import Conflict, Finding, NotFound
from ....gateways.database import BoundStatement, Database, Transaction
from ....models import Certificate, CertificateVersion, served_text
from ....pki.names.ownership import Evidence
from ....pki.submission import ValidationResult
from ...access.permissions import require_may_grant
from ...audit.log import Audit, Outcome
from ...etags import Tags, require_view
from ...events.log import Events, EventType, state_of
from ...hostnames.ownership import Hostnames, evidence_of, evidence_of_row
from ...idempotency import NO_KEY, IdempotentRequest
from ...keys.data_keys import DataKeys, DataKeyStatements
from ...keys.private_keys import PrivateKeys
from ...principal import Principal
from ...quotas.usage import Usage
from ...revisions import Revisions
from ..candidates import candidate_of_certificate
from ..contents import certificate_not_found, certificate_path, content_of, locked_certificate
from ..intermediates import Intermediates
from ..requests import Replacement, Rollback
from ..validation import Validation
from ..views import SHOWN, CertificateView, certificate_view, view_of
from .pending import PendingVersions, content_of_row, pending_state, schedule_activation
from .renewal_rules import (
    candidate_of_content,
    is_served,
    requested_time,
    require_pending_keeps,
    require_takeover,
    start_of,
)
from .store import KEPT, VersionStore

_TOLD_OF: dict[str, EventType] = {
    "certificate.replace": "certificate.replaced",
    "certificate.roll_back": "certificate.rolled_back",
}


class Versions:
    """Replaces a certificate in place: same id, next version, no interruption."""

    def __init__(
        self,
        database: Database,
        inspection: Validation,
        intermediates: Intermediates,
        hostnames: Hostnames,
        revisions: Revisions,
        audit: Audit,
        events: Events,
        data_keys: DataKeys,
        private_keys: PrivateKeys,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._inspection = inspection
        self._intermediates = intermediates
        self._hostnames = hostnames
        self._revisions = revisions
        self._audit = audit
        self._events = events
        self._data_keys = data_keys
        self._private_keys = private_keys
        self._now = now
        self._store = VersionStore(database, hostnames, revisions, private_keys, now)
        self._pending = PendingVersions(private_keys)
        self._usage = Usage(database)
        self._all = database.prepare(_all_versions())

    def all(self, user_id: int, certificate_id: int) -> list[CertificateView]:
        """Returns the current and earlier versions, newest first. Raises NotFound."""
        rows = self._all(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise certificate_not_found(user_id, certificate_id)
        now = self._now()
        return [certificate_view(row, now) for row in rows]

    def replace(
        self,
        caller: Principal,
        user_id: int,
        certificate_id: int,
        sent: Replacement,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> CertificateView:
        """Replaces the certificate with `sent`, and returns it.

        Does nothing if it already has that content.

        A version that cannot be served yet becomes `pending`, and the current one is served until
        then. Raises Invalid (it is not accepted), NotFound, PreconditionFailed, Unavailable, or
        Conflict: hostnames would be left without a working certificate, another user has a
        hostname, or a quota is exceeded.
        """
        require_may_grant(caller, wanted=sent.grant_hostnames)
        activate_at = requested_time(sent.activate_at, self._now(), active=False)
        examined = self._inspection.examine(user_id, sent)
        self._inspection.require(examined)
        now = self._now()
        content = content_of(examined, now)
        keys = self._data_keys.of(user_id)
        path = certificate_path(user_id, certificate_id)
        with (
            self._audit.of_refusals(caller, "certificate.replace", user_id, path),
            self._database.begin(user_id) as session,
        ):
            idempotent.claim(session)
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, now))
            before = certificate.version, certificate.pending
            stored = self._usage.measure(session, certificate_id)
            self._take_over(
                session,
                keys,
                certificate,
                content,
                examined,
                activate_at,
                self._hostnames.granted() if sent.grant_hostnames else None,
                allowed=sent.allow_lost_hostnames,
            )
            self._usage.settle(session, user_id, certificate_id, stored)
            self._record(
                session,
                caller,
                "certificate.replace",
                certificate,
                before,
                grants=sent.grant_hostnames,
            )
            return idempotent.save_response(session, view_of(certificate, now))

    def roll_back(
        self,
        caller: Principal,
        user_id: int,
        certificate_id: int,
        wanted: Rollback,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> CertificateView:
        """Rolls back to `wanted.version`, and returns the certificate.

        Does nothing if it already has that content. A pending version stays pending. Raises
        NotFound (also for a version that is not kept), PreconditionFailed, or Conflict: hostnames
        would be left without a working certificate, another user has a hostname, or a quota is
        exceeded.
        """
        now = self._now()
        keys = self._data_keys.of(user_id)
        path = certificate_path(user_id, certificate_id)
        with (
            self._audit.of_refusals(caller, "certificate.roll_back", user_id, path),
            self._database.begin(user_id) as session,
        ):
            idempotent.claim(session)
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, now))
            before = certificate.version, certificate.pending
            stored = self._usage.measure(session, certificate_id)
            if wanted.version != certificate.version:
                content = _content_of_version(session, certificate, wanted.version)
                key = self._private_keys.open(session, keys, certificate.id, wanted.version)
                if not self._is_already(session, keys, certificate, content, key):
                    self._require_unexpired(content, now)
                    activation = self._pending.activation(session, certificate)
                    require_takeover(
                        candidate_of_certificate(certificate),
                        candidate_of_content(content, certificate),
                        activation or now,
                        now,
                        msgspec.json.decode(content["findings"], type=list[Finding]),
                        "activate_at" if activation else "version",
                        allowed=wanted.allow_lost_hostnames,
                        subject=f"Version {wanted.version}",
                    )
                    require_pending_keeps(certificate, content, allowed=wanted.allow_lost_hostnames)
                    content["updated_at"] = now
                    self._pending.make_room(session, keys, certificate)
                    self._put(session, keys, certificate, content, key)
                    if activation:
                        self._schedule_activation(session, certificate, activation)
            self._usage.settle(session, user_id, certificate_id, stored)
            self._record(session, caller, "certificate.roll_back", certificate, before)
            return idempotent.save_response(session, view_of(certificate, now))

    def cancel(
        self,
        caller: Principal,
        user_id: int,
        certificate_id: int,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> None:
        """Cancels the scheduled cutover, and deletes the pending version.

        Raises NotFound (also if none is scheduled), PreconditionFailed.
        """
        path = certificate_path(user_id, certificate_id)
        action = "certificate.cancel_cutover"
        with (
            self._audit.of_refusals(caller, action, user_id, path),
            self._database.begin(user_id) as session,
        ):
            idempotent.claim(session)
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, self._now()))
            canceled = pending_state(certificate)
            stored = self._usage.measure(session, certificate_id)
            self._pending.remove(session, certificate)
            self._usage.settle(session, user_id, certificate_id, stored)
            certificate.watch_expiry(self._now())
            session.flush()
            self._revisions.replace(session, user_id)
            told = self._events.calls("certificate.schedule_canceled", user_id, canceled)
            detail = {"version": canceled.version, "fingerprint_sha256": canceled[-1]}
            self._audit.record(session, caller, action, user_id, path, detail=detail, also=told)
            idempotent.save_response(session, None)

    def _take_over(
        self,
        session: Transaction,
        keys: DataKeyStatements,
        certificate: Certificate,
        content: dict[str, Any],
        examined: ValidationResult,
        activate_at: datetime | None,
        granted: Evidence | None,
        *,
        allowed: bool,
    ) -> None:
        """Replaces a locked certificate, now or later, unless that is already done or scheduled."""
        now, key = self._now(), examined.private_key
        present = candidate_of_certificate(certificate)
        new = candidate_of_content(content, certificate)
        start = start_of(new, activate_at, now, allowed=allowed)
        waiting = self._pending.find(session, certificate)
        activation = None if waiting else certificate.activate_at
        is_stored = self._is_already(session, keys, certificate, content, key)
        is_scheduled = (
            waiting is not None
            and start == certificate.activate_at
            and self._is_already(session, keys, waiting, content, key)
        )
        if is_stored and certificate.active and activate_at:
            raise _is_active_already(certificate)
        if is_scheduled or (
            is_stored and (certificate.active or activate_at in (None, activation))
        ):
            if granted:
                self._hostnames.claim(session, certificate.user_id, content["hostnames"], granted)
            return
        # An inactive certificate keeps its scheduled activation, unless the request gives another
        # time.
        activate_at = activate_at or activation
        if not is_served(present, now, start):
            start = activate_at or now
        field = "activate_at" if activate_at else "body"
        require_takeover(present, new, start, now, examined.findings, field, allowed=allowed)
        # Before claiming hostnames, in the same order as an upload. Opposite orders could deadlock.
        for statement, values in self._intermediates.keep(certificate.user_id, examined):
            session.run(statement, **values)
        if certificate.active and start > now:
            self._schedule(session, keys, certificate, content, examined, start, granted)
            return
        self._pending.remove(session, certificate)
        if not is_stored:
            self._put(session, keys, certificate, content, key, granted)
        if activate_at and not certificate.active:
            self._schedule_activation(session, certificate, activate_at)

    def _schedule(
        self,
        session: Transaction,
        keys: DataKeyStatements,
        certificate: Certificate,
        content: dict[str, Any],
        examined: ValidationResult,
        start: datetime,
        granted: Evidence | None,
    ) -> None:
        """Stores the pending version of a locked, active certificate."""
        user_id, hostnames = certificate.user_id, content["hostnames"]
        if granted:
            self._hostnames.claim(session, user_id, hostnames, granted)
        else:
            evidence = evidence_of(content, start)
            self._hostnames.require_claimable(session, user_id, hostnames, evidence, start)
        self._pending.put(session, keys, certificate, content, examined.private_key, start)
        # A pending version that takes over before expiry suppresses expiry notifications.
        certificate.watch_expiry(self._now())
        session.flush()
        self._revisions.replace(session, user_id)

    def _schedule_activation(
        self, session: Transaction, certificate: Certificate, at: datetime
    ) -> None:
        """Schedules the activation of a locked, inactive certificate at `at`."""
        user_id = certificate.user_id
        evidence = evidence_of_row(certificate, at)
        self._hostnames.require_claimable(session, user_id, certificate.hostnames, evidence, at)
        schedule_activation(certificate, at)
        session.flush()
        self._revisions.replace(session, user_id)

    def _is_already(
        self,
        session: Transaction,
        keys: DataKeyStatements,
        row: Certificate | CertificateVersion,
        content: dict[str, Any],
        key: Secret,
    ) -> bool:
        """Returns whether the row already has this content and key.

        A repeated request must not create another version. The same certificate may come with
        another key, and unreadable content as another text.
        """
        same = ["fingerprint_sha256"]
        if row.fingerprint_sha256 is None:
            same += ["body", "chain"]
        certificate_id = row.id if isinstance(row, Certificate) else row.certificate_id
        return (
            row.chain_pem == served_text(content["body"], content["served_pem"])
            and all(getattr(row, name) == content[name] for name in same)
            and self._private_keys.is_stored(session, keys, certificate_id, row.version, key)
        )

    def _record(
        self,
        session: Transaction,
        caller: Principal,
        action: str,
        certificate: Certificate,
        before: tuple[int, str | None],
        *,
        grants: bool = False,
    ) -> None:
        """Records the change.

        `before` is the previous version and what was pending; `grants`: the hostnames were granted.
        """
        user_id = certificate.user_id
        version, pending = before
        detail: dict[str, Any] = {"grant_hostnames": True} if grants else {}
        told: list[BoundStatement] = []
        state = state_of(certificate)
        if certificate.version != version:
            told = self._events.calls(_TOLD_OF[action], user_id, state)
        if certificate.pending is not None and certificate.pending != pending:
            scheduled = pending_state(certificate)
            detail["activate_at"] = certificate.activate_at
            # A rollback only renumbers the pending version.
            if action == "certificate.replace":
                told += self._events.calls("certificate.scheduled", user_id, scheduled)
                state = scheduled
        changed = grants or before != (certificate.version, certificate.pending)
        outcome: Outcome = "done" if changed else "unchanged"
        detail |= {"version": state.version, "fingerprint_sha256": state.fingerprint_sha256}
        path = certificate_path(user_id, certificate.id)
        self._audit.record(
            session, caller, action, user_id, path, outcome=outcome, detail=detail, also=told
        )

    def _put(
        self,
        session: Transaction,
        keys: DataKeyStatements,
        certificate: Certificate,
        content: dict[str, Any],
        key: Secret,
        granted: Evidence | None = None,
    ) -> None:
        """Makes `content` and `key` the next version of a locked certificate."""
        self._store.put(session, certificate, content, granted)
        self._private_keys.add(session, keys, certificate.id, certificate.version, key)

    def _require_unexpired(self, content: dict[str, Any], now: datetime) -> None:
        not_after = content["not_after"]
        if self._inspection.enforces and not_after and not_after < now:
            raise Conflict(
                "That version has expired; nothing was changed.",
                errors=[
                    Finding(
                        "expired",
                        "version",
                        f"It expired on {not_after:%Y-%m-%d}.",
                        "Replace the certificate with a valid one.",
                    )
                ],
            )


def _is_active_already(certificate: Certificate) -> Conflict:
    return Conflict(
        "This version is already active; nothing was changed.",
        errors=[
            Finding(
                "already_active",
                "activate_at",
                f"Certificate {certificate.id} already serves this version: there is nothing "
                "to schedule.",
                "Omit activate_at. To cancel a scheduled cutover, DELETE …/pending.",
            )
        ],
    )


def _all_versions() -> Select[*tuple[Any, ...]]:
    """Selects all versions in one statement; a replacement between two would show one twice."""
    mine = (
        Certificate.id == bindparam("certificate_id"),
        Certificate.user_id == bindparam("user_id"),
    )
    own = {"id", "user_id", "created_at"}
    other: dict[str, Any] = {
        "active": literal(False).label("active"),
        "pending": cast(null(), Text).label("pending"),
    }
    others = [
        other[name]
        if name in other
        else getattr(Certificate if name in own else CertificateVersion, name)
        for name in SHOWN
    ]
    versions = union_all(
        select(*(getattr(Certificate, name) for name in SHOWN)).where(*mine),
        select(*others)
        .join_from(
            CertificateVersion, Certificate, CertificateVersion.certificate_id == Certificate.id
        )
        .where(*mine),
    ).subquery()
    return select(versions).order_by(versions.c.version.desc())


def _content_of_version(
    session: Transaction, certificate: Certificate, version: int
) -> dict[str, Any]:
    kept = session.scalars(
        select(CertificateVersion).where(
            CertificateVersion.certificate_id == certificate.id,
            CertificateVersion.version == version,
            # Excludes pending versions, which were never served.
            CertificateVersion.version < certificate.version,
        )
    ).one_or_none()
    if kept is None:
        raise NotFound(
            f"Certificate {certificate.id} has no version {version}. Only the last {KEPT} are kept."
        )
    return content_of_row(kept)
