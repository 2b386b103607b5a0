"""Certificates in responses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from ...errors import Finding
from ...field_docs import doc
from ...models import Certificate
from ...pki.selection import Candidate, NotServableReason, why_not_servable
from ...pki.submission import (
    FINGERPRINT,
    HOSTNAMES,
    ISSUER,
    KEY_ALGORITHM,
    NOT_AFTER,
    NOT_BEFORE,
    SERIAL,
    SIGNATURE_ALGORITHM,
    SPKI,
    SUBJECT,
    Leaf,
    NotServable,
    Trust,
    ValidationResult,
)
from ..etags import encode, tag_of
from ..hostnames.preview import HostnameChanges
from ..labels import Labels

Status = Literal["active", "inactive", "expired", "not_yet_valid"]

_TIME = "2026-11-23T09:30:00Z"
_PEM = "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"

SERVABLE = doc("Whether a server may serve it now, if it is active.", True)
NOT_SERVABLE_REASON = doc(
    "Why it cannot be served, as a code; `findings` explain it. unreadable: it could "
    "not be read. no_key: it has no usable private key. not_loadable: TLS servers cannot load it "
    "with its key. chain_expired, chain_not_yet_valid: an intermediate is not valid now."
)
_Trust = Annotated[
    Trust,
    doc(
        "public: it chains to a root that browsers trust. private: it chains to a "
        "root that was uploaded with it. self_signed: it is signed by its own key. incomplete: an "
        "issuer is missing. unreadable: it could not be read.",
        "public",
    ),
]
_Active = Annotated[bool, doc("Whether terminators may serve it.", True)]
_Findings = Annotated[list[Finding], doc("Everything that validation found, errors first.")]
_Hostnames = Annotated[list[str], HOSTNAMES]
_NotBefore = Annotated[datetime | None, NOT_BEFORE]
_NotAfter = Annotated[datetime | None, NOT_AFTER]
_Fingerprint = Annotated[str | None, FINGERPRINT]
_ChainPem = Annotated[str | None, doc("The leaf, then its intermediates in order.", _PEM)]


class PendingView(msgspec.Struct):
    """A scheduled cutover: from `activate_at` on, this version is served."""

    version: Annotated[int, doc("The version that takes over.", 2, ge=1)]
    activate_at: Annotated[datetime, doc("When it takes over.", _TIME, tz=True)]
    hostnames: _Hostnames
    not_before: _NotBefore
    not_after: _NotAfter
    fingerprint_sha256: _Fingerprint
    findings: Annotated[list[Finding], doc("What validation found at the upload.")]


_Pending = Annotated[PendingView | None, doc("The scheduled cutover. null: none is scheduled.")]


class CertificateView(msgspec.Struct):
    """A certificate, without its private key. Values that could not be parsed are null."""

    id: Annotated[int, doc("The certificate's id.", 1, ge=1)]
    user_id: Annotated[int, doc("The user that owns it.", 1, ge=1)]
    active: _Active
    status: Annotated[
        Status, doc("By its dates, if it is not valid now; otherwise by `active`.", "active")
    ]
    servable: Annotated[bool, SERVABLE]
    not_servable_reason: Annotated[NotServableReason | None, NOT_SERVABLE_REASON]
    version: Annotated[int, doc("1 for the upload; each replacement adds 1.", 1, ge=1)]
    trust: _Trust
    hostnames: _Hostnames
    subject: Annotated[str | None, SUBJECT]
    issuer: Annotated[str | None, ISSUER]
    serial: Annotated[str | None, SERIAL]
    not_before: _NotBefore
    not_after: _NotAfter
    key_algorithm: Annotated[str | None, KEY_ALGORITHM]
    signature_algorithm: Annotated[str | None, SIGNATURE_ALGORITHM]
    fingerprint_sha256: _Fingerprint
    spki_sha256: Annotated[str | None, SPKI]
    findings: Annotated[list[Finding], doc("What validation found at the upload, errors first.")]
    body: Annotated[str, doc("The certificates as PEM, or the unreadable text.", _PEM)]
    chain: Annotated[str | None, doc("The chain, if it was uploaded separately.", None)]
    chain_pem: _ChainPem
    pending: _Pending
    labels: Labels
    created_at: Annotated[datetime, doc("When it was uploaded.", _TIME, tz=True)]
    updated_at: Annotated[datetime, doc("When this version was uploaded.", _TIME, tz=True)]


class ServingView(msgspec.Struct):
    """A terminator that serves a certificate."""

    terminator: Annotated[str, doc("The terminator's name.", "edge-1")]
    version: Annotated[int, doc("The version that it serves.", 1, ge=1)]
    since: Annotated[datetime, doc("When it first reported it.", _TIME, tz=True)]
    verified: Annotated[
        bool | None, doc("Whether a probe received this version. null: not probed.")
    ]


class CertificateDetail(CertificateView):
    """A certificate, and the terminators that serve it."""

    serving: Annotated[list[ServingView], doc("The terminators that report that they serve it.")]


class UploadView(msgspec.Struct):
    """A stored certificate, and what validation found."""

    id: Annotated[int, doc("The certificate's id.", 1, ge=1)]
    user_id: Annotated[int, doc("The user that owns it.", 1, ge=1)]
    active: _Active
    servable: Annotated[bool, SERVABLE]
    not_servable_reason: Annotated[NotServableReason | None, NOT_SERVABLE_REASON]
    trust: _Trust
    hostnames: _Hostnames
    not_before: _NotBefore
    not_after: _NotAfter
    fingerprint_sha256: _Fingerprint
    findings: _Findings
    pending: _Pending = None


class CheckView(msgspec.Struct):
    """The certificate that an upload would store, and the changes that activation would make."""

    accepted: Annotated[bool, doc("Whether an upload of it would be stored.")]
    servable: Annotated[bool, SERVABLE]
    not_servable_reason: Annotated[NotServableReason | None, NOT_SERVABLE_REASON]
    trust: _Trust
    certificate: Annotated[Leaf | None, doc("The parsed certificate. null: it could not be read.")]
    chain_pem: _ChainPem
    findings: _Findings
    hostnames: Annotated[HostnameChanges, doc("How its activation would change its hostnames.")]


# The fields of a CertificateView that no column has, and columns that decide about them.
_DERIVED = ("status", "servable", "not_servable_reason")
_SERVING = ("serve_not_before", "serve_not_after", "not_servable")
# The columns of a row for `certificate_view`, in its order.
SHOWN = (*(name for name in CertificateView.__struct_fields__ if name not in _DERIVED), *_SERVING)
_Dates = tuple[datetime | None, datetime | None]
_TRUST = SHOWN.index("trust")
_HOSTNAMES, _FINDINGS = SHOWN.index("hostnames"), SHOWN.index("findings")
_PENDING, _LABELS = SHOWN.index("pending"), SHOWN.index("labels")
_NOT_BEFORE, _NOT_AFTER = SHOWN.index("not_before"), SHOWN.index("not_after")


def certificate_view(row: Sequence[Any], as_of: datetime) -> CertificateView:
    """Returns the certificate of a row with the columns SHOWN, with its status at `as_of`."""
    *values, serve_not_before, serve_not_after, not_servable = row
    # Already JSON.
    values[_HOSTNAMES] = msgspec.Raw(values[_HOSTNAMES].encode())
    values[_FINDINGS] = msgspec.Raw(values[_FINDINGS].encode())
    values[_LABELS] = msgspec.Raw(values[_LABELS].encode())
    if pending := values[_PENDING]:
        values[_PENDING] = msgspec.Raw(pending.encode())
    values[-1] = values[-1] or values[-2]
    begin, end = row[_NOT_BEFORE], row[_NOT_AFTER]
    window = (serve_not_before, serve_not_after)
    reason = not_servable_reason(row[_TRUST], (begin, end), window, not_servable, as_of)
    values[3:3] = [status_of(row[2], begin, end, as_of), reason is None, reason]
    return CertificateView(*values)


def not_servable_reason(
    trust: Trust, valid: _Dates, served: _Dates, not_servable: NotServable | None, as_of: datetime
) -> NotServableReason | None:
    """Returns why no server may serve a certificate at `as_of`; None if one may."""
    candidate = Candidate(0, 0, 0, True, (), *valid, trust, None, True, *served, not_servable)
    return why_not_servable(candidate, as_of)


def reason_of(result: ValidationResult, as_of: datetime) -> NotServableReason | None:
    """Returns why no server may serve an upload at `as_of`; None if one may."""
    leaf = result.leaf
    valid = (leaf.not_before, leaf.not_after) if leaf else (None, None)
    served = (result.serve_not_before, result.serve_not_after)
    return not_servable_reason(result.trust, valid, served, result.not_servable, as_of)


def view_of(certificate: Certificate, as_of: datetime) -> CertificateView:
    """Returns the view of a certificate object, which may have unsaved changes."""
    return certificate_view([getattr(certificate, name) for name in SHOWN], as_of)


def status_of(
    active: bool, not_before: datetime | None, not_after: datetime | None, as_of: datetime
) -> Status:
    """Returns the status of a certificate at `as_of`; `not_after` itself is still valid."""
    if not_after and as_of > not_after:
        return "expired"
    if not_before and as_of < not_before:
        return "not_yet_valid"
    return "active" if active else "inactive"


def detailed(view: CertificateView, serving: list[ServingView]) -> tuple[str, bytes]:
    """Returns the entity tag and the bytes of a certificate with its terminators.

    The tag has two parts: one for the certificate, one for the reports about it. A change of the
    certificate with If-Match is thus not rejected because of a new report.
    """
    content = encode(view)
    tag = tag_of(content)
    if serving:
        tag += f"-{tag_of(encode(serving))}"
    return tag, encode(CertificateDetail(**msgspec.structs.asdict(view), serving=serving))
