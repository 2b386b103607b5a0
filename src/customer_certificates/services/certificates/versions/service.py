"""Versions of a certificate: replace now or at a scheduled time, list, roll back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import Select, Text, bindparam, cast, literal, null, select, union_all

from ....crypto.secret import Secret
from ....errors import Conflict, Finding, NotFound
from ....gateways.database import BoundStatement, Transaction
from ....models import Certificate, CertificateVersion, served_text
from ....pki.names.ownership import Evidence
from ....pki.submission import ValidationResult
from ...access.permissions import require_may_grant
from ...audit.log import PendingEntry
from ...etags import Tags
from ...events.log import EventType, state_of
from ...hostnames.ownership import evidence_of, evidence_of_row
from ...idempotency import NO_KEY, IdempotentRequest
from ...keys.data_keys import DataKeyStatements
from ...labels import labels_json
from ...principal import Principal
from ...quotas.usage import Usage
from ..candidates import candidate_of_certificate, candidate_of_content
from ..contents import certificate_not_found, content_of, content_of_row
from ..parts import CertificateParts
from ..requests import Replacement, Rollback
from ..views import SHOWN, CertificateView, certificate_view, view_of
from .pending import PendingVersions, pending_state, schedule_activation
from .renewal_rules import (
    is_served,
    requested_time,
    require_pending_keeps,
    require_takeover,
    start_of,
)
from .store import KEPT, VersionStore

_EVENTS: dict[str, EventType] = {
    "certificate.replace": "certificate.replaced",
    "certificate.roll_back": "certificate.rolled_back",
}


@dataclass(frozen=True, slots=True)
class _Change:
    """A transaction that has locked a certificate, and the data keys of its user."""

    session: Transaction
    certificate: Certificate
    keys: DataKeyStatements


@dataclass(frozen=True, slots=True)
class _NewVersion:
    """A version to store: the columns CONTENT, its key, and when to activate it.

    `granted`: an operator granted the hostnames.
    """

    content: dict[str, Any]
    key: Secret
    activate_at: datetime | None = None
    granted: Evidence | None = None


class Versions:
    """Replaces a certificate in place: same id, next version, no interruption."""

    def __init__(self, parts: CertificateParts) -> None:
        self._parts = parts
        self._store = VersionStore(
            parts.database, parts.hostnames, parts.revisions, parts.private_keys, parts.clock
        )
        self._pending = PendingVersions(parts.private_keys)
        self._usage = Usage(parts.database)
        self._all = parts.database.prepare(_all_versions())

    def all(self, user_id: int, certificate_id: int) -> list[CertificateView]:
        """Returns the current and earlier versions, newest first. Raises NotFound."""
        rows = self._all(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise certificate_not_found(user_id, certificate_id)
        now = self._parts.clock()
        return [certificate_view(row, now) for row in rows]

    def replace(
        self,
        principal: Principal,
        user_id: int,
        certificate_id: int,
        replacement: Replacement,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> CertificateView:
        """Replaces the certificate with `replacement`, and returns it.

        Does nothing if it already has that content.

        A version that cannot be served yet becomes `pending`, and the current one is served until
        then. Raises Invalid (it is not accepted), NotFound, PreconditionFailed, Unavailable, or
        Conflict: hostnames would be left without a working certificate, another user has a
        hostname, or a quota is exceeded.
        """
        parts, action = self._parts, "certificate.replace"
        is_grant = replacement.grant_hostnames
        require_may_grant(principal, grants=is_grant)
        activate_at = requested_time(replacement.activate_at, parts.clock(), active=False)
        result = parts.validation.accepted(user_id, replacement.submission())
        now = parts.clock()
        granted = parts.hostnames.granted() if is_grant else None
        new = _NewVersion(content_of(result, now), result.private_key, activate_at, granted)
        keys = parts.data_keys.of(user_id)
        change = parts.change(principal, action, user_id, certificate_id, expected, idempotent)
        with change as (session, certificate, entry):
            before = certificate.version, certificate.pending
            with self._usage.counted(session, user_id, certificate_id):
                allowed = replacement.allow_lost_hostnames
                self._take_over(_Change(session, certificate, keys), new, result, allowed=allowed)
            is_labeled = self._label(session, certificate, replacement)
            self._record(entry, certificate, before, is_labeled=is_labeled, is_grant=is_grant)
            return idempotent.save_response(session, view_of(certificate, now))

    def roll_back(
        self,
        principal: Principal,
        user_id: int,
        certificate_id: int,
        rollback: Rollback,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> CertificateView:
        """Rolls back to `rollback.version`, and returns the certificate.

        Does nothing if it already has that content. A pending version stays pending. Raises
        NotFound (also for a version that is not kept), PreconditionFailed, or Conflict: hostnames
        would be left without a working certificate, another user has a hostname, or a quota is
        exceeded.
        """
        parts, action = self._parts, "certificate.roll_back"
        now, keys = parts.clock(), parts.data_keys.of(user_id)
        change = parts.change(principal, action, user_id, certificate_id, expected, idempotent)
        with change as (session, certificate, entry):
            before = certificate.version, certificate.pending
            with self._usage.counted(session, user_id, certificate_id):
                if rollback.version != certificate.version:
                    self._restore(_Change(session, certificate, keys), rollback, now)
            self._record(entry, certificate, before)
            return idempotent.save_response(session, view_of(certificate, now))

    def cancel(
        self,
        principal: Principal,
        user_id: int,
        certificate_id: int,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> None:
        """Cancels the scheduled cutover, and deletes the pending version.

        Raises NotFound (also if none is scheduled), PreconditionFailed.
        """
        parts, action = self._parts, "certificate.cancel_cutover"
        change = parts.change(principal, action, user_id, certificate_id, expected, idempotent)
        with change as (session, certificate, entry):
            canceled = pending_state(certificate)
            with self._usage.counted(session, user_id, certificate_id):
                self._pending.remove(session, certificate)
            certificate.watch_expiry(parts.clock())
            session.flush()
            parts.revisions.replace(session, user_id)
            statements = parts.events.calls("certificate.schedule_canceled", user_id, canceled)
            fingerprint = canceled.fingerprint_sha256
            detail = {"version": canceled.version, "fingerprint_sha256": fingerprint}
            entry.add(detail, also=statements)
            idempotent.save_response(session, None)

    def _take_over(
        self, change: _Change, new: _NewVersion, result: ValidationResult, *, allowed: bool
    ) -> None:
        """Replaces the certificate, now or later, unless that is already done or scheduled."""
        now, session, certificate = self._parts.clock(), change.session, change.certificate
        activate_at = new.activate_at
        candidate = candidate_of_content(new.content, certificate)
        start = start_of(candidate, activate_at, now, allowed=allowed)
        pending = self._pending.find(session, certificate)
        activation = None if pending else certificate.activate_at
        is_stored = self._is_stored(change, certificate, new)
        if is_stored and certificate.active and activate_at:
            raise _is_active_already(certificate)
        if (is_stored and (certificate.active or activate_at in (None, activation))) or (
            pending and start == certificate.activate_at and self._is_stored(change, pending, new)
        ):
            self._grant(session, certificate.user_id, new)
            return
        # An inactive certificate keeps its scheduled activation by default.
        activate_at = activate_at or activation
        current = candidate_of_certificate(certificate)
        if not is_served(current, now, start):
            start = activate_at or now
        field = "activate_at" if activate_at else "body"
        require_takeover(current, candidate, start, now, result.findings, field, allowed=allowed)
        # Before claiming hostnames, as an upload does. Opposite orders could deadlock.
        for statement, values in self._parts.intermediates.statements(certificate.user_id, result):
            session.run(statement, **values)
        if certificate.active and start > now:
            self._schedule(change, new, start)
            return
        self._pending.remove(session, certificate)
        if not is_stored:
            self._put(change, new)
        if activate_at and not certificate.active:
            self._schedule_activation(session, certificate, activate_at)

    def _restore(self, change: _Change, rollback: Rollback, now: datetime) -> None:
        """Stores an earlier version again, unless the certificate already has its content."""
        session, certificate, keys = change.session, change.certificate, change.keys
        version, allowed = rollback.version, rollback.allow_lost_hostnames
        content = _content_of_version(session, certificate, version)
        key = self._parts.private_keys.open(session, keys, certificate.id, version)
        new = _NewVersion({**content, "updated_at": now}, key)
        if self._is_stored(change, certificate, new):
            return
        self._require_unexpired(content, now)
        pending = self._pending.find(session, certificate)
        activation = None if pending else certificate.activate_at
        require_takeover(
            candidate_of_certificate(certificate),
            candidate_of_content(content, certificate),
            activation or now,
            now,
            msgspec.json.decode(content["findings"], type=list[Finding]),
            "activate_at" if activation else "version",
            allowed=allowed,
            subject=f"Version {version}",
        )
        require_pending_keeps(certificate, content, allowed=allowed)
        self._pending.make_room(session, keys, certificate)
        self._put(change, new)
        if activation:
            self._schedule_activation(session, certificate, activation)

    def _label(
        self, session: Transaction, certificate: Certificate, replacement: Replacement
    ) -> bool:
        """Stores the labels, if there are any, and returns whether they changed."""
        if replacement.labels is UNSET:
            return False
        labels = labels_json(replacement.labels)
        if certificate.labels == labels:
            return False
        certificate.labels = labels
        session.flush()
        self._parts.revisions.replace(session, certificate.user_id)
        return True

    def _grant(self, session: Transaction, user_id: int, new: _NewVersion) -> None:
        if new.granted:
            self._parts.hostnames.claim(session, user_id, new.content["hostnames"], new.granted)

    def _schedule(self, change: _Change, new: _NewVersion, start: datetime) -> None:
        """Stores the pending version of an active certificate."""
        session, certificate = change.session, change.certificate
        user_id = certificate.user_id
        self._grant(session, user_id, new)
        if not new.granted:
            self._parts.hostnames.require_claimable(
                session, user_id, new.content["hostnames"], evidence_of(new.content, start), start
            )
        self._pending.put(session, change.keys, certificate, new.content, new.key, start)
        # A pending version that takes over before expiry suppresses expiry notifications.
        certificate.watch_expiry(self._parts.clock())
        session.flush()
        self._parts.revisions.replace(session, user_id)

    def _schedule_activation(
        self, session: Transaction, certificate: Certificate, at: datetime
    ) -> None:
        """Schedules the activation of an inactive certificate at `at`."""
        user_id, evidence = certificate.user_id, evidence_of_row(certificate, at)
        self._parts.hostnames.require_claimable(
            session, user_id, certificate.hostnames, evidence, at
        )
        schedule_activation(certificate, at)
        session.flush()
        self._parts.revisions.replace(session, user_id)

    def _is_stored(
        self, change: _Change, row: Certificate | CertificateVersion, new: _NewVersion
    ) -> bool:
        """Returns whether the row already has this content and key.

        A repeated request must not create another version. The same certificate may come with
        another key, and unreadable content as another text.
        """
        content, compared = new.content, ["fingerprint_sha256"]
        if row.fingerprint_sha256 is None:
            compared += ["body", "chain"]
        certificate_id = row.id if isinstance(row, Certificate) else row.certificate_id
        return (
            row.chain_pem == served_text(content["body"], content["served_pem"])
            and all(getattr(row, name) == content[name] for name in compared)
            and self._parts.private_keys.is_stored(
                change.session, change.keys, certificate_id, row.version, new.key
            )
        )

    def _put(self, change: _Change, new: _NewVersion) -> None:
        """Makes `new` the next version of the certificate."""
        session, certificate = change.session, change.certificate
        self._store.put(session, certificate, new.content, new.granted)
        self._parts.private_keys.add(
            session, change.keys, certificate.id, certificate.version, new.key
        )

    def _record(
        self,
        entry: PendingEntry,
        certificate: Certificate,
        before: tuple[int, str | None],
        *,
        is_labeled: bool = False,
        is_grant: bool = False,
    ) -> None:
        """Records the change. `before` is the previous version and pending cutover."""
        events, user_id = self._parts.events, certificate.user_id
        version, pending = before
        detail: dict[str, Any] = {"grant_hostnames": True} if is_grant else {}
        statements: list[BoundStatement] = []
        state = state_of(certificate)
        if certificate.version != version:
            statements = events.calls(_EVENTS[entry.action], user_id, state)
        if certificate.pending is not None and certificate.pending != pending:
            scheduled = pending_state(certificate)
            detail["activate_at"] = certificate.activate_at
            # A rollback only renumbers the pending version.
            if entry.action == "certificate.replace":
                statements += events.calls("certificate.scheduled", user_id, scheduled)
                state = scheduled
        is_change = is_grant or is_labeled or before != (certificate.version, certificate.pending)
        detail |= {"version": state.version, "fingerprint_sha256": state.fingerprint_sha256}
        entry.add(detail, changed=is_change, also=statements)

    def _require_unexpired(self, content: dict[str, Any], now: datetime) -> None:
        not_after = content["not_after"]
        if self._parts.validation.enforces and not_after and not_after < now:
            detail = f"It expired on {not_after:%Y-%m-%d}."
            hint = "Replace the certificate with a valid one."
            finding = Finding("expired", "version", detail, hint)
            raise Conflict(
                "The requested version has expired; nothing was changed.", errors=[finding]
            )


def _is_active_already(certificate: Certificate) -> Conflict:
    detail = f"This version of certificate {certificate.id} is already active."
    hint = "Omit activate_at. To cancel a scheduled cutover, DELETE …/pending."
    finding = Finding("already_active", "activate_at", detail, hint)
    return Conflict("This version is already active; nothing was changed.", errors=[finding])


def _all_versions() -> Select[*tuple[Any, ...]]:
    """Selects all versions in one statement; a replacement between two would show one twice."""
    is_the_certificate = (
        Certificate.id == bindparam("certificate_id"),
        Certificate.user_id == bindparam("user_id"),
    )
    current = {name: getattr(Certificate, name) for name in SHOWN}
    # The columns of another version; those that it lacks are the certificate's.
    other: dict[str, Any] = {
        **{name: getattr(CertificateVersion, name, column) for name, column in current.items()},
        "id": Certificate.id,
        "active": literal(False).label("active"),
        "pending": cast(null(), Text).label("pending"),
    }
    versions = union_all(
        select(*current.values()).where(*is_the_certificate),
        select(*other.values())
        .join_from(
            CertificateVersion, Certificate, CertificateVersion.certificate_id == Certificate.id
        )
        .where(*is_the_certificate),
    ).subquery()
    return select(versions).order_by(versions.c.version.desc())


def _content_of_version(
    session: Transaction, certificate: Certificate, version: int
) -> dict[str, Any]:
    earlier = session.scalars(
        select(CertificateVersion).where(
            CertificateVersion.certificate_id == certificate.id,
            CertificateVersion.version == version,
            # Excludes pending versions, which were never served.
            CertificateVersion.version < certificate.version,
        )
    ).one_or_none()
    if earlier is None:
        raise NotFound(
            f"Certificate {certificate.id} has no version {version}. Only the last {KEPT} are kept."
        )
    return content_of_row(earlier)
