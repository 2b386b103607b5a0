"""Stores validated uploads. Each is one transaction of two round trips."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

import msgspec
from sqlalchemy import bindparam, insert, select

from ...errors import Finding
from ...gateways.database import BoundStatement, ConstraintBroken, Transaction
from ...gateways.database.prepared import Row
from ...models import CONTENT, Certificate
from ...pki.submission import ValidationResult
from ..etags import Tags, require, tag_of_revision
from ..events.log import CertificateState, EventType
from ..hostnames.ownership import evidence_of
from ..idempotency import NO_KEY, IdempotentRequest
from ..keys.data_keys import DataKeyExists, DataKeyStatements
from ..labels import labels_json
from ..principal import Principal
from ..quotas.usage import Use, of_new, require_room
from ..user_lock import lock_user
from .candidates import candidate_of_content
from .contents import certificate_path, content_of
from .parts import CertificateParts
from .requests import CertificateUpload
from .versions.pending import pending_json
from .versions.renewal_rules import require_served_at
from .views import UploadView, reason_of

# An upload with more hostnames gets its own transaction, because it takes some hundred
# milliseconds.
_MANY_HOSTNAMES = 100


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """A validated upload as it is stored: without the passphrase and the fields as sent.

    `content` has the columns CONTENT. `pending` is the scheduled activation, as JSON.
    """

    user_id: int
    result: ValidationResult
    content: Mapping[str, Any]
    use: Use
    active: bool
    activate_at: datetime | None
    pending: str | None
    grant_hostnames: bool
    labels: str

    @classmethod
    def of(
        cls,
        user_id: int,
        upload: CertificateUpload,
        activate_at: datetime | None,
        result: ValidationResult,
    ) -> Self:
        """Returns the certificate to store; `activate_at` is the one of `upload`, in UTC.

        Raises Conflict if it could not be served at that time.
        """
        content, pending = content_of(result), None
        if activate_at:
            require_served_at(candidate_of_content(content, None), activate_at, result.findings)
            pending = pending_json(content, 1, activate_at)
        hostnames = len(result.leaf.hostnames) if result.leaf else 0
        return cls(
            user_id,
            result,
            content,
            of_new(content, hostnames, result.private_key),
            upload.active,
            activate_at,
            pending,
            upload.grant_hostnames,
            labels_json(upload.labels),
        )

    @property
    def is_inactive(self) -> bool:
        """Returns whether storing it changes no ownership, and never will by itself."""
        return not (self.active or self.activate_at or self.grant_hostnames)


class _FirstRows(NamedTuple):
    """The rows of the first step of an upload."""

    counters: Row
    duplicates: list[Row]
    certificate_id: int
    audit_head: list[Row]
    data_keys: list[list[Row]]

    @classmethod
    def of(cls, rows: list[list[Row]], new: NewCertificate) -> Self:
        """Names the rows of `Uploads._first_step`; ignores those of later statements."""
        ((_user_id, *counters),), duplicates, ((certificate_id,),), _hostnames, *others = rows
        audit_head, *data_keys = others[len(new.result.intermediates) :]
        return cls(tuple(counters), duplicates, certificate_id, audit_head, data_keys)


class Uploads:
    """Stores uploads, and finds duplicates of them."""

    def __init__(self, parts: CertificateParts) -> None:
        self._parts = parts
        self._duplicates = parts.database.prepare(
            select(Certificate.id)
            .where(
                Certificate.user_id == bindparam("user_id"),
                Certificate.fingerprint_sha256 == bindparam("fingerprint"),
                Certificate.id != bindparam("replaced"),
            )
            .order_by(Certificate.id)
            .limit(1)
        )
        columns = (
            "user_id",
            "active",
            "created_at",
            "expiry_due",
            "activate_at",
            "pending",
            "labels",
        )
        self._insert = parts.database.prepare(
            insert(Certificate).returning(Certificate.id), (*columns, *CONTENT)
        )

    def findings(
        self, user_id: int, result: ValidationResult, replaced: int | None
    ) -> list[Finding]:
        """Returns all findings, also about a duplicate of the user other than `replaced`."""
        fingerprint = result.leaf.fingerprint_sha256 if result.leaf else None
        rows = self._duplicates(user_id=user_id, fingerprint=fingerprint, replaced=replaced or 0)
        return _with_duplicate(result, rows)

    def store(
        self,
        principal: Principal,
        new: NewCertificate,
        expected: Tags | None,
        idempotent: IdempotentRequest,
    ) -> UploadView:
        """Stores the certificate.

        Raises NotFound (no such user), PreconditionFailed, Unavailable, or Conflict: the user
        cannot claim a hostname, or a quota is exceeded.
        """
        while True:
            keys = self._parts.data_keys.of_or_new(new.user_id)
            try:
                return self._store(principal, new, keys, expected, idempotent)
            except ConstraintBroken:
                # Raises NotFound if the user does not exist.
                self._parts.revisions.current(new.user_id)
                raise
            except DataKeyExists:
                # The next attempt uses the key that another request stored.
                continue

    def _store(
        self,
        principal: Principal,
        new: NewCertificate,
        keys: DataKeyStatements,
        expected: Tags | None,
        idempotent: IdempotentRequest,
    ) -> UploadView:
        now = self._parts.clock()
        first_step = self._first_step(new, keys, now)

        def second_step(rows: list[list[Row]]) -> list[BoundStatement]:
            return self._second_step(principal, new, keys, _FirstRows.of(rows, new))

        if idempotent is NO_KEY and expected is None and new.is_inactive:
            rows = self._parts.database.run_two_step_transaction(
                new.user_id, first_step, second_step, is_long=new.use.hostnames > _MANY_HOSTNAMES
            )
            return _view(new, _FirstRows.of(rows, new), now)
        with self._parts.database.begin(new.user_id) as session:
            idempotent.claim(session)
            if expected is not None:
                revision = lock_user(session, new.user_id).certificates_revision
                require(expected, tag_of_revision(revision))
            rows = session.run_pipeline(*first_step)
            self._claim(session, new, now)
            session.run_pipeline(*second_step(rows))
            return idempotent.save_response(session, _view(new, _FirstRows.of(rows, new), now))

    def _first_step(
        self, new: NewCertificate, keys: DataKeyStatements, now: datetime
    ) -> list[BoundStatement]:
        """Returns the statements that need no id. Their rows are those of _FirstRows.

        The revision is first, because it locks the user's row. Ids thus become visible in
        ascending order, and a client that reads a list page by page misses none.
        """
        parts, user_id, content = self._parts, new.user_id, new.content
        fingerprint, hostnames = content["fingerprint_sha256"], content["hostnames"]
        values = {
            **content,
            "user_id": user_id,
            "active": new.active,
            "created_at": now,
            "expiry_due": now if new.active else None,
            "activate_at": new.activate_at,
            "pending": new.pending,
            "labels": new.labels,
        }
        return [
            parts.revisions.added(user_id, content, new.use),
            (self._duplicates, {"user_id": user_id, "fingerprint": fingerprint, "replaced": 0}),
            (self._insert, values),
            parts.hostnames.of_certificates.of_newest(user_id, hostnames),
            *parts.intermediates.statements(user_id, new.result),
            parts.audit.head(user_id),
            *keys.to_store,
        ]

    def _second_step(
        self, principal: Principal, new: NewCertificate, keys: DataKeyStatements, rows: _FirstRows
    ) -> list[BoundStatement]:
        """Returns the statements that need the certificate's id, to which the key is bound."""
        require_room(rows.counters, new.use)
        keys.require_stored(rows.data_keys)
        parts, user_id, certificate_id = self._parts, new.user_id, rows.certificate_id
        fingerprint = new.content["fingerprint_sha256"]
        hostnames, not_after = new.content["hostnames"], new.content["not_after"]
        state = CertificateState(certificate_id, 1, new.active, hostnames, not_after, fingerprint)
        kinds: dict[EventType, bool] = {
            "certificate.created": True,
            "certificate.activated": new.active,
            "certificate.scheduled": new.activate_at is not None,
        }
        detail: dict[str, Any] = {"active": new.active, "fingerprint_sha256": fingerprint}
        if new.activate_at:
            detail["activate_at"] = new.activate_at
        if new.grant_hostnames:
            detail["grant_hostnames"] = True
        path = certificate_path(user_id, certificate_id)
        return [
            parts.private_keys.added(keys, certificate_id, 1, new.result.private_key),
            *(
                statement
                for kind, happened in kinds.items()
                if happened
                for statement in parts.events.calls(kind, user_id, state)
            ),
            *parts.audit.entry(
                rows.audit_head, principal, "certificate.upload", user_id, path, detail=detail
            ),
        ]

    def _claim(self, session: Transaction, new: NewCertificate, now: datetime) -> None:
        """Claims the hostnames, or raises Conflict if they could not be claimed later."""
        hostnames, content, names = self._parts.hostnames, new.content, new.content["hostnames"]
        if new.grant_hostnames:
            hostnames.claim(session, new.user_id, names, hostnames.granted())
        elif new.active:
            hostnames.claim(session, new.user_id, names, evidence_of(content, now))
        elif at := new.activate_at:
            evidence = evidence_of(content, at)
            hostnames.require_claimable(session, new.user_id, names, evidence, at)


def _view(new: NewCertificate, rows: _FirstRows, now: datetime) -> UploadView:
    result, leaf = new.result, new.result.leaf
    reason = reason_of(result, now)
    return UploadView(
        id=rows.certificate_id,
        user_id=new.user_id,
        active=new.active,
        servable=reason is None,
        not_servable_reason=reason,
        trust=result.trust,
        hostnames=list(leaf.hostnames) if leaf else [],
        not_before=leaf.not_before if leaf else None,
        not_after=leaf.not_after if leaf else None,
        fingerprint_sha256=leaf.fingerprint_sha256 if leaf else None,
        findings=_with_duplicate(result, rows.duplicates),
        pending=new.pending and msgspec.Raw(new.pending.encode()),  # pyrefly: ignore
    )


def _with_duplicate(result: ValidationResult, duplicates: list[Row]) -> list[Finding]:
    findings = list(result.findings)
    if duplicates:
        detail = f"The same certificate is already stored, as certificate {duplicates[0][0]}."
        hint = "Use the stored certificate, or keep both and delete an inactive one later."
        findings.append(Finding("duplicate", "body", detail, hint, "warning"))
    return findings
