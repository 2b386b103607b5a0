"""Use cases of certificates: validate, upload, read, activate, delete."""

from sqlalchemy import bindparam, select

from ...gateways.database import BoundStatement, Transaction
from ...gateways.database.sql_functions import names_of
from ...models import Certificate
from ...pki.names.ownership import Evidence
from ..access.permissions import require_may_grant
from ..etags import Tags
from ..events.log import state_of
from ..hostnames.findings import without_hostname_findings
from ..hostnames.ownership import evidence_of, evidence_of_row
from ..hostnames.preview import Replaced
from ..idempotency import NO_KEY, IdempotentRequest
from ..labels import labels_json
from ..principal import Principal
from ..quotas.usage import Usage
from .contents import certificate_not_found, content_of
from .details import detail_of, with_serving
from .parts import CertificateParts
from .requests import Activation, CertificateChanges, CertificateCheck, CertificateUpload
from .servability import require_servable
from .served_names import ServedNames
from .upload import NewCertificate, Uploads
from .versions.pending import PendingVersions
from .versions.renewal_rules import requested_time
from .views import CertificateView, CheckView, ServingView, UploadView, reason_of, view_of


class Certificates:
    """The use cases of certificates, except for replacement.

    Each write is recorded in the audit log in its own transaction, as is the response to an
    idempotent request.

    Every change replaces the user's revision in the same transaction. The cached lists depend on
    that.
    """

    def __init__(self, parts: CertificateParts) -> None:
        self._parts = parts
        self._uploads = Uploads(parts)
        self._served_names = ServedNames(parts.database, parts.clock)
        self._pending = PendingVersions(parts.private_keys)
        self._usage = Usage(parts.database)
        self._with_serving = parts.database.prepare(with_serving(), by_key=True)
        self._active_and_hostnames = parts.database.prepare(
            select(Certificate.active, Certificate.hostnames).where(
                Certificate.id == bindparam("certificate_id"),
                Certificate.user_id == bindparam("user_id"),
            )
        )

    def check(
        self, principal: Principal, user_id: int, upload: CertificateCheck, replaces: int | None
    ) -> CheckView:
        """Returns the findings of `upload`, and the effect of its activation. Stores nothing.

        `replaces` is the certificate that it would replace; None: it would be an additional one.
        Raises NotFound (no such user, or no such certificate to replace), Unavailable.
        """
        require_may_grant(principal, grants=upload.grant_hostnames)
        parts = self._parts
        parts.revisions.current(user_id)
        replaced = self._replaced(user_id, replaces) if replaces else None
        result = parts.validation.validate(user_id, upload.submission())
        now = parts.clock()
        reason = reason_of(result, now)
        granted = parts.hostnames.granted() if upload.grant_hostnames else None
        return CheckView(
            accepted=parts.validation.accepts(result),
            servable=reason is None,
            not_servable_reason=reason,
            trust=result.trust,
            certificate=result.leaf,
            chain_pem=result.chain_pem,
            findings=self._uploads.findings(user_id, result, replaces),
            hostnames=parts.hostnames.changes(
                user_id,
                result.leaf.hostnames if result.leaf else (),
                granted or evidence_of(content_of(result), now),
                replaced,
            ),
        )

    def upload(
        self,
        principal: Principal,
        user_id: int,
        upload: CertificateUpload,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> UploadView:
        """Stores `upload`. The worker activates it at `activate_at`, if given.

        Raises Invalid (it is not accepted), NotFound (no such user), PreconditionFailed,
        Unavailable, or Conflict: another user has a hostname, it could not be served at
        `activate_at`, or a quota is exceeded.
        """
        require_may_grant(principal, grants=upload.grant_hostnames)
        activate_at = requested_time(upload.activate_at, self._parts.clock(), active=upload.active)
        result = self._parts.validation.accepted(user_id, upload.submission())
        with self._parts.audit.of_refusals(
            principal, "certificate.upload", user_id, f"/users/{user_id}/certificates"
        ):
            new = NewCertificate.of(user_id, upload, activate_at, result)
            return self._uploads.store(principal, new, expected, idempotent)

    def get(self, user_id: int, certificate_id: int) -> tuple[CertificateView, list[ServingView]]:
        """Returns the certificate and the terminators that serve it, by name.

        One statement reads both. Raises NotFound, also for another user's certificate.
        """
        rows = self._with_serving(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise certificate_not_found(user_id, certificate_id)
        return detail_of(rows, self._parts.clock())

    def change(
        self,
        principal: Principal,
        user_id: int,
        certificate_id: int,
        changes: CertificateChanges,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> CertificateView:
        """Stores the labels, and returns the certificate. Raises NotFound, PreconditionFailed."""
        parts, action = self._parts, "certificate.change"
        change = parts.change(principal, action, user_id, certificate_id, expected, idempotent)
        with change as (session, certificate, entry):
            certificate.labels = labels_json(changes.labels)
            if changed := session.is_modified(certificate):
                session.flush()
                parts.revisions.replace(session, user_id)
            entry.add({"fields": ["labels"]}, changed=changed)
            return idempotent.save_response(session, view_of(certificate, parts.clock()))

    def set_active(
        self,
        principal: Principal,
        user_id: int,
        certificate_id: int,
        activation: Activation,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> None:
        """Activates or deactivates the certificate. Does nothing if it already has that state.

        Raises NotFound, PreconditionFailed, Forbidden (only operators grant hostnames), or
        Conflict: the user cannot claim a hostname, a hostname would be left without a certificate,
        or no server can serve the certificate and validation is enforced.
        """
        require_may_grant(principal, grants=activation.grant_hostnames)
        action = "certificate.activate" if activation.active else "certificate.deactivate"
        is_grant = activation.active and activation.grant_hostnames
        parts = self._parts
        granted = parts.hostnames.granted() if is_grant else None
        statements: list[BoundStatement] = []
        change = parts.change(principal, action, user_id, certificate_id, expected, idempotent)
        with change as (session, certificate, entry):
            is_change = certificate.active != activation.active
            if is_change:
                statements = self._switch(session, certificate, activation, granted)
            elif granted:
                parts.hostnames.claim(session, user_id, certificate.hostnames, granted)
            detail = {"grant_hostnames": True} if granted else None
            entry.add(detail, changed=is_change or granted is not None, also=statements)
            idempotent.save_response(session, None)

    def _switch(
        self,
        session: Transaction,
        certificate: Certificate,
        activation: Activation,
        granted: Evidence | None,
    ) -> list[BoundStatement]:
        """Changes the state of a locked certificate. Returns the statements of the event."""
        parts, user_id, now = self._parts, certificate.user_id, self._parts.clock()
        if activation.active:
            if parts.validation.enforces:
                require_servable(certificate, now)
            if not self._pending.find(session, certificate):
                # This change replaces the scheduled activation.
                certificate.activate_at = certificate.pending = None
            certificate.findings = without_hostname_findings(certificate.findings)
        else:
            self._served_names.require_kept(
                session, certificate, "active", allowed=activation.allow_lost_hostnames
            )
        certificate.active = activation.active
        certificate.watch_expiry(now)
        session.flush()
        if activation.active:
            evidence = granted or evidence_of_row(certificate, now)
            parts.hostnames.claim(session, user_id, certificate.hostnames, evidence)
        else:
            parts.hostnames.release_unused(session, user_id, certificate.hostnames)
        parts.revisions.replace(session, user_id)
        return parts.events.calls(
            "certificate.activated" if activation.active else "certificate.deactivated",
            user_id,
            state_of(certificate),
            notify=activation.notify,
        )

    def delete(
        self,
        principal: Principal,
        user_id: int,
        certificate_id: int,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
        *,
        allow_lost_hostnames: bool = False,
    ) -> None:
        """Deletes the certificate and its key.

        Raises NotFound, PreconditionFailed, or Conflict: a hostname would be left without a
        certificate.
        """
        parts, action = self._parts, "certificate.delete"
        change = parts.change(principal, action, user_id, certificate_id, expected, idempotent)
        with change as (session, certificate, entry):
            self._served_names.require_kept(
                session, certificate, "allow_lost_hostnames", allowed=allow_lost_hostnames
            )
            before = self._usage.measure(session, certificate_id)
            session.delete(certificate)
            session.flush()
            self._usage.record_deletion(session, user_id, before)
            parts.hostnames.release_unused(session, user_id, certificate.hostnames)
            parts.revisions.replace(session, user_id)
            state = state_of(certificate)._replace(active=False)
            statements = parts.events.calls("certificate.deleted", user_id, state)
            if certificate.active:
                statements[:0] = parts.events.calls("certificate.deactivated", user_id, state)
            entry.add({"fingerprint_sha256": certificate.fingerprint_sha256}, also=statements)
            idempotent.save_response(session, None)

    def lost_without(self, user_id: int, certificate_id: int) -> list[str]:
        """Returns the hostnames that would be left without a certificate, which forbids a deletion.

        Raises NotFound.
        """
        current = self._replaced(user_id, certificate_id)
        return self._served_names.lost_without(user_id, current) if current.active else []

    def _replaced(self, user_id: int, certificate_id: int) -> Replaced:
        rows = self._active_and_hostnames(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise certificate_not_found(user_id, certificate_id)
        active, hostnames = rows[0]
        return Replaced(certificate_id, active, names_of(hostnames))
