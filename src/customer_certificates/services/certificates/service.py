"""Use cases of certificates: validate, upload, read, activate, delete."""

from collections.abc import Callable
from datetime import datetime

import msgspec
from sqlalchemy import bindparam, insert, select

from ...errors import Finding
from ...gateways.database import BoundStatement, ConstraintBroken, Database
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import names_of
from ...models import CONTENT, Certificate
from ...pki.submission import ValidationResult
from ..access.permissions import require_may_grant
from ..audit.log import Audit
from ..etags import Tags, require, require_view, tag_of_revision
from ..events.log import CertificateState, Events, state_of
from ..hostnames.findings import without_hostname_findings
from ..hostnames.ownership import Hostnames, evidence_of, evidence_of_row
from ..hostnames.preview import Replaced
from ..idempotency import NO_KEY, IdempotentRequest
from ..keys.data_keys import DataKeyExists, DataKeys
from ..keys.private_keys import PrivateKeys
from ..principal import Principal
from ..quotas.usage import Usage, of_new, require_room
from ..revisions import Revisions
from ..user_lock import lock_user
from .contents import certificate_not_found, certificate_path, content_of, locked_certificate
from .details import detail_of, with_serving
from .intermediates import Intermediates
from .requests import Activation, CertificateCheck, CertificateUpload
from .servability import require_servable
from .served_names import ServedNames
from .validation import Validation
from .versions.pending import PendingVersions, shown
from .versions.renewal_rules import candidate_of_content, requested_time, require_served_at
from .views import CertificateView, CheckView, ServingView, UploadView, reason_of, view_of

# An upload with more hostnames gets its own transaction, because it takes some hundred
# milliseconds.
_MANY_HOSTNAMES = 100


class Certificates:
    """The use cases of certificates, except for replacement.

    Each write is recorded in the audit log in its own transaction, as is the response to an
    idempotent request (`idempotent`).

    Every change replaces the user's revision in the same transaction. The cached lists depend on
    that.
    """

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
        self._served_names = ServedNames(database, now)
        self._pending = PendingVersions(private_keys)
        self._usage = Usage(database)
        of_user = Certificate.user_id == bindparam("user_id")
        this = (Certificate.id == bindparam("certificate_id"), of_user)
        self._one = database.prepare(with_serving(), by_key=True)
        self._state_of = database.prepare(
            select(Certificate.active, Certificate.hostnames).where(*this)
        )
        self._same = database.prepare(
            select(Certificate.id)
            .where(
                of_user,
                Certificate.fingerprint_sha256 == bindparam("fingerprint"),
                Certificate.id != bindparam("replaced"),
            )
            .order_by(Certificate.id)
            .limit(1)
        )
        self._insert = database.prepare(
            insert(Certificate).returning(Certificate.id),
            (
                "user_id",
                "active",
                "created_at",
                "expiry_due",
                "activate_at",
                "pending",
                *CONTENT,
            ),
        )

    def check(
        self, caller: Principal, user_id: int, sent: CertificateCheck, replaces: int | None
    ) -> CheckView:
        """Returns the findings of `sent`, and the effect of its activation. Stores nothing.

        `replaces` is the certificate that it would replace; None: it would be an additional one.
        Raises NotFound (no such user, or no such certificate to replace), Unavailable.
        """
        require_may_grant(caller, wanted=sent.grant_hostnames)
        self._revisions.current(user_id)
        replaced = self._replaced(user_id, replaces) if replaces else None
        examined = self._inspection.examine(user_id, sent)
        leaf = examined.leaf
        fingerprint = leaf.fingerprint_sha256 if leaf else None
        same = self._same(user_id=user_id, fingerprint=fingerprint, replaced=replaces or 0)
        return CheckView(
            accepted=self._inspection.accepts(examined),
            servable=(reason := reason_of(examined, self._now())) is None,
            not_servable_reason=reason,
            trust=examined.trust,
            certificate=leaf,
            chain_pem=examined.chain_pem,
            findings=_with_duplicate(examined, same),
            hostnames=self._hostnames.changes(
                user_id,
                leaf.hostnames if leaf else (),
                self._hostnames.granted()
                if sent.grant_hostnames
                else evidence_of(content_of(examined), self._now()),
                replaced,
            ),
        )

    def upload(
        self,
        caller: Principal,
        user_id: int,
        sent: CertificateUpload,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> UploadView:
        """Stores `sent`. The worker activates it at `activate_at`, if given.

        Raises Invalid (it is not accepted), NotFound (no such user), PreconditionFailed,
        Unavailable, or Conflict: another user has a hostname, it could not be served at
        `activate_at`, or a quota is exceeded.
        """
        require_may_grant(caller, wanted=sent.grant_hostnames)
        activate_at = requested_time(sent.activate_at, self._now(), active=sent.active)
        examined = self._inspection.examine(user_id, sent)
        self._inspection.require(examined)
        with self._audit.of_refusals(
            caller, "certificate.upload", user_id, f"/users/{user_id}/certificates"
        ):
            return self._store(caller, user_id, sent, examined, activate_at, expected, idempotent)

    def get(self, user_id: int, certificate_id: int) -> tuple[CertificateView, list[ServingView]]:
        """Returns the certificate and the terminators that serve it, by name.

        One statement reads both. Raises NotFound, also for another user's certificate.
        """
        rows = self._one(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise certificate_not_found(user_id, certificate_id)
        return detail_of(rows, self._now())

    def set_active(
        self,
        caller: Principal,
        user_id: int,
        certificate_id: int,
        wanted: Activation,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> None:
        """Activates or deactivates the certificate. Does nothing if it already has that state.

        Raises NotFound, PreconditionFailed, Forbidden (only operators grant hostnames), or
        Conflict: the user cannot claim a hostname, a hostname would be left without a certificate,
        or no server can serve the certificate and validation is enforced.
        """
        require_may_grant(caller, wanted=wanted.grant_hostnames)
        action = "certificate.activate" if wanted.active else "certificate.deactivate"
        path = certificate_path(user_id, certificate_id)
        with (
            self._audit.of_refusals(caller, action, user_id, path),
            self._database.begin(user_id) as session,
        ):
            idempotent.claim(session)
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, self._now()))
            changes = certificate.active != wanted.active
            grants = wanted.active and wanted.grant_hostnames
            told: list[BoundStatement] = []
            if changes:
                self._served_names.require_kept(
                    session, certificate, "active", allowed=wanted.allow_lost_hostnames
                )
                if wanted.active and self._inspection.enforces:
                    require_servable(certificate, self._now())
                if wanted.active and not self._pending.find(session, certificate):
                    # This change replaces the scheduled activation.
                    certificate.activate_at = certificate.pending = None
                certificate.active = wanted.active
                if wanted.active:
                    certificate.findings = without_hostname_findings(certificate.findings)
                certificate.watch_expiry(self._now())
                session.flush()
                if wanted.active:
                    self._hostnames.claim(
                        session,
                        user_id,
                        certificate.hostnames,
                        self._hostnames.granted()
                        if grants
                        else evidence_of_row(certificate, self._now()),
                    )
                else:
                    self._hostnames.free(session, user_id, certificate.hostnames)
                self._revisions.replace(session, user_id)
                told = self._events.calls(
                    "certificate.activated" if wanted.active else "certificate.deactivated",
                    user_id,
                    state_of(certificate),
                    notify=wanted.notify,
                )
            elif grants:
                self._hostnames.claim(
                    session, user_id, certificate.hostnames, self._hostnames.granted()
                )
            self._audit.record(
                session,
                caller,
                action,
                user_id,
                path,
                outcome="done" if changes or grants else "unchanged",
                detail={"grant_hostnames": True} if grants else None,
                also=told,
            )
            idempotent.save_response(session, None)

    def delete(
        self,
        caller: Principal,
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
        path = certificate_path(user_id, certificate_id)
        with (
            self._audit.of_refusals(caller, "certificate.delete", user_id, path),
            self._database.begin(user_id) as session,
        ):
            idempotent.claim(session)
            certificate = locked_certificate(session, user_id, certificate_id)
            require_view(expected, view_of(certificate, self._now()))
            self._served_names.require_kept(
                session, certificate, "allow_lost_hostnames", allowed=allow_lost_hostnames
            )
            before = self._usage.measure(session, certificate_id)
            session.delete(certificate)
            session.flush()
            self._usage.settle_deletion(session, user_id, before)
            self._hostnames.free(session, user_id, certificate.hostnames)
            self._revisions.replace(session, user_id)
            state = state_of(certificate)._replace(active=False)
            told = self._events.calls("certificate.deleted", user_id, state)
            if certificate.active:
                told = self._events.calls("certificate.deactivated", user_id, state) + told
            detail = {"fingerprint_sha256": certificate.fingerprint_sha256}
            self._audit.record(
                session, caller, "certificate.delete", user_id, path, detail=detail, also=told
            )
            idempotent.save_response(session, None)

    def _replaced(self, user_id: int, certificate_id: int) -> Replaced:
        rows = self._state_of(user_id=user_id, certificate_id=certificate_id)
        if not rows:
            raise certificate_not_found(user_id, certificate_id)
        active, hostnames = rows[0]
        return Replaced(certificate_id, active, names_of(hostnames))

    def _store(
        self,
        caller: Principal,
        user_id: int,
        sent: CertificateUpload,
        examined: ValidationResult,
        activate_at: datetime | None,
        expected: Tags | None,
        idempotent: IdempotentRequest,
    ) -> UploadView:
        keys = self._data_keys.of_or_new(user_id)
        content = content_of(examined)
        pending = None
        if activate_at:
            new = candidate_of_content(content, None)
            require_served_at(new, activate_at, examined.findings)
            pending = shown(content, 1, activate_at)
        now = self._now()
        values = {
            **content,
            "user_id": user_id,
            "active": sent.active,
            "created_at": now,
            "expiry_due": now if sent.active else None,
            "activate_at": activate_at,
            "pending": pending,
        }
        fingerprint, hostnames = content["fingerprint_sha256"], content["hostnames"]
        names = examined.leaf.hostnames if examined.leaf else ()
        more = of_new(content, len(names), examined.private_key)
        # The revision is first, because it locks the user's row. Ids thus become visible in
        # ascending order, and a client that reads a list page by page misses none.
        first: list[BoundStatement] = [
            self._revisions.added(user_id, content, more),
            (self._same, {"user_id": user_id, "fingerprint": fingerprint, "replaced": 0}),
            (self._insert, values),
            (
                self._hostnames.of_certificates.record_newest,
                {"user_id": user_id, "hostnames": hostnames},
            ),
            *self._intermediates.keep(user_id, examined),
            self._audit.head(user_id),
            *keys.to_store,
        ]
        place_of_head = len(first) - 1 - len(keys.to_store)
        detail = {"active": sent.active, "fingerprint_sha256": fingerprint}
        if activate_at:
            detail["activate_at"] = activate_at
        if sent.grant_hostnames:
            detail["grant_hostnames"] = True

        def rest(rows: list[list[Row]]) -> list[BoundStatement]:
            """Returns the statements that need the certificate's id, to which the key is bound."""
            require_room(rows[0][0][1:], more)
            keys.require_stored(rows[place_of_head + 1 :])
            certificate_id = rows[2][0][0]
            state = CertificateState(
                certificate_id, 1, sent.active, hostnames, content["not_after"], fingerprint
            )
            told = self._events.calls("certificate.created", user_id, state)
            if sent.active:
                told += self._events.calls("certificate.activated", user_id, state)
            if activate_at:
                told += self._events.calls("certificate.scheduled", user_id, state)
            return [
                self._private_keys.added(keys, certificate_id, 1, examined.private_key),
                *told,
                *self._audit.entry(
                    rows[place_of_head],
                    caller,
                    "certificate.upload",
                    user_id,
                    certificate_path(user_id, certificate_id),
                    detail=detail,
                ),
            ]

        def view(rows: list[list[Row]]) -> UploadView:
            made = _uploaded(user_id, sent, examined, rows[2][0][0], rows[1], now)
            if pending:
                made.pending = msgspec.Raw(pending.encode())  # pyrefly: ignore[bad-assignment]
            return made

        try:
            stays_inactive = not (sent.active or activate_at or sent.grant_hostnames)
            if idempotent is NO_KEY and expected is None and stays_inactive:
                is_long = len(names) > _MANY_HOSTNAMES
                return view(
                    self._database.run_two_step_transaction(user_id, first, rest, is_long=is_long)
                )
            with self._database.begin(user_id) as session:
                idempotent.claim(session)
                if expected is not None:
                    revision = lock_user(session, user_id).certificates_revision
                    require(expected, tag_of_revision(revision))
                rows = session.run_pipeline(*first)
                if sent.grant_hostnames:
                    self._hostnames.claim(session, user_id, hostnames, self._hostnames.granted())
                elif sent.active:
                    self._hostnames.claim(session, user_id, hostnames, evidence_of(content, now))
                elif activate_at:
                    evidence = evidence_of(content, activate_at)
                    self._hostnames.require_claimable(
                        session, user_id, hostnames, evidence, activate_at
                    )
                session.run_pipeline(*rest(rows))
                return idempotent.save_response(session, view(rows))
        except ConstraintBroken:
            # Raises NotFound if the user does not exist.
            self._revisions.current(user_id)
            raise
        except DataKeyExists:
            return self._store(caller, user_id, sent, examined, activate_at, expected, idempotent)


def _uploaded(
    user_id: int,
    sent: CertificateUpload,
    examined: ValidationResult,
    certificate_id: int,
    same: list[Row],
    now: datetime,
) -> UploadView:
    leaf = examined.leaf
    reason = reason_of(examined, now)
    return UploadView(
        id=certificate_id,
        user_id=user_id,
        active=sent.active,
        servable=reason is None,
        not_servable_reason=reason,
        trust=examined.trust,
        hostnames=list(leaf.hostnames) if leaf else [],
        not_before=leaf.not_before if leaf else None,
        not_after=leaf.not_after if leaf else None,
        fingerprint_sha256=leaf.fingerprint_sha256 if leaf else None,
        findings=_with_duplicate(examined, same),
    )


def _with_duplicate(examined: ValidationResult, same: list[Row]) -> list[Finding]:
    """Returns all findings, plus one if the user already has the certificate."""
    findings = list(examined.findings)
    if same:
        findings.append(
            Finding(
                "duplicate",
                "body",
                f"The same certificate is already stored, as certificate {same[0][0]}.",
                "Use that one, or keep both and delete one while it is inactive.",
                "warning",
            )
        )
    return findings
