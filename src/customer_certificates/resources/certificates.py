"""/users/{user_id}/certificates and its subpaths"""

from typing import Annotated

import msgspec
from falcon import Request, Response

from ..errors import Conflict, Invalid, NotFound, PreconditionFailed
from ..field_docs import doc
from ..pki.submission import Trust
from ..services.access.permissions import users
from ..services.certificates.contents import certificate_path
from ..services.certificates.listing import CertificateFilter, Listing
from ..services.certificates.requests import (
    Activation,
    CertificateChanges,
    CertificateCheck,
    CertificateUpload,
    Replacement,
)
from ..services.certificates.service import Certificates
from ..services.certificates.versions.service import Versions
from ..services.certificates.views import (
    CertificateDetail,
    CertificateView,
    CheckView,
    Status,
    UploadView,
    detailed,
)
from ..services.etags import encode
from ..services.idempotency import Reply
from ..web import etags, pagination, request_parsing, responses
from ..web.filters import EXPIRES_BEFORE, FINGERPRINT, HOSTNAME, STATUS, TRUST, hostname_of
from ..web.operations import (
    AFTER,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    LABEL,
    LIMIT,
    WRITE,
    Answer,
    Parameter,
    operation,
)
from ..web.resource import AnswersHead, Resource

_ACTIVE = Parameter(
    "active",
    "Return only active (true) or only inactive (false) certificates. Default: both.",
    {"type": "string", "enum": ["true", "false"]},
)
_REPLACES = Parameter(
    "replaces",
    "The id of the certificate to replace, if any.",
    {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
)
_ALLOW_LOST = Parameter(
    "allow_lost_hostnames",
    "Delete the certificate even if a TLS terminator then has no certificate for a hostname.",
    {"type": "string", "enum": ["true", "false"]},
)


class Activated(msgspec.Struct):
    """The requested state of the certificate."""

    id: Annotated[int, doc("The certificate's id.", 1, ge=1)]
    active: Annotated[bool, doc("Whether to serve the certificate.", True)]


class CertificatesResource(AnswersHead):
    """A user's certificates."""

    def __init__(self, certificates: Certificates, listing: Listing) -> None:
        self._certificates = certificates
        self._listing = listing

    @operation(
        "Upload a certificate and its private key",
        {201: Answer("Stored.", UploadView, headers=("Location",))},
        description="Every upload is validated. If the service enforces validation, an upload "
        "with errors is rejected with all findings. Otherwise it is stored with its findings. "
        "With `activate_at`, the certificate is stored inactive and activated at that time.",
        body=CertificateUpload,
        parameters=WRITE,
        refusals=[NotFound, Conflict, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        upload = request_parsing.read(req, CertificateUpload)
        idempotent, expected = responses.idempotent(req, _uploaded), etags.expected(req)
        view = self._certificates.upload(
            req.context.principal, user_id, upload, expected, idempotent
        )
        responses.send(resp, _uploaded(view))

    @operation(
        "List a user's certificates",
        {200: Answer("Certificates by id.", list[CertificateView], headers=("Link",))},
        parameters=[
            _ACTIVE,
            HOSTNAME,
            EXPIRES_BEFORE,
            STATUS,
            FINGERPRINT,
            TRUST,
            LABEL,
            LIMIT,
            AFTER,
            IF_NONE_MATCH,
        ],
        refusals=[NotFound, Invalid],
        allow=users("certificates:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        query = request_parsing.Query(req)
        criteria = CertificateFilter(
            query.flag("active"),
            hostname_of(query),
            query.time("expires_before"),
            query.choice("status", Status),
            query.sha256("fingerprint"),
            query.choice("trust", Trust),
            *pagination.slice_of(query),
            query.labels(),
        )
        query.check()
        tag, page = self._listing.page(
            req.context.principal, user_id, criteria, etags.if_none_match(req)
        )
        if page:
            pagination.link_next(req, resp, page.next_after)
        etags.send(resp, tag, page.body if page else None)


class CheckResource(Resource[Certificates]):
    """The dry run of an upload."""

    @operation(
        "Check a certificate and its private key",
        {200: Answer("The findings. Nothing is stored.", CheckView)},
        description="Shows the findings of an upload, what would be served, and what an activation "
        "would change. With `replaces`, compares with a replacement of that certificate.",
        body=CertificateCheck,
        parameters=[_REPLACES],
        refusals=[NotFound],
        allow=users("certificates:read"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        query = request_parsing.Query(req)
        replaces = query.whole("replaces", 0, 1) or None
        query.check()
        upload = request_parsing.read(req, CertificateCheck)
        resp.data = encode(self._service.check(req.context.principal, user_id, upload, replaces))


class CertificateResource(AnswersHead):
    """One of a user's certificates."""

    def __init__(self, certificates: Certificates, versions: Versions) -> None:
        self._certificates = certificates
        self._versions = versions

    @operation(
        "Show a certificate",
        {200: Answer("The certificate.", CertificateDetail)},
        parameters=[IF_NONE_MATCH],
        refusals=[NotFound],
        allow=users("certificates:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        tag, body = detailed(*self._certificates.get(user_id, certificate_id))
        etags.send(resp, tag, None if etags.if_none_match(req).admit(tag) else body)

    @operation(
        "Replace a certificate and its key",
        {200: Answer("Replaced, scheduled (`pending`), or unchanged.", CertificateView)},
        description="The id stays and the version increases by one. A certificate is served at "
        "all times. If the new one is not valid yet, or `activate_at` is given, it is stored as "
        "the pending version. The current version is served until then. A new pending version "
        "replaces an earlier one. An inactive certificate is replaced immediately and activated "
        "at `activate_at`. Responds with 409 and all findings in three cases: the new certificate "
        "has expired or cannot be served (`would_not_be_served`), the current one expires first "
        "(`present_expires_first`), or the new one lacks hostnames (`hostnames_lost`). The "
        "request can be repeated: if the certificate is already the same, nothing changes.",
        body=Replacement,
        parameters=WRITE,
        refusals=[NotFound, Conflict, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_put(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        replacement = request_parsing.read(req, Replacement)
        idempotent, expected = responses.idempotent(req, responses.shown), etags.expected(req)
        view = self._versions.replace(
            req.context.principal, user_id, certificate_id, replacement, expected, idempotent
        )
        responses.send(resp, responses.shown(view))

    @operation(
        "Change a certificate's labels",
        {200: Answer("The certificate.", CertificateView)},
        description="The labels replace the current ones. The version and what is served stay the "
        "same, and no event is sent.",
        body=CertificateChanges,
        parameters=WRITE,
        refusals=[NotFound, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_patch(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        changes = request_parsing.read(req, CertificateChanges)
        idempotent, expected = responses.idempotent(req, responses.shown), etags.expected(req)
        view = self._certificates.change(
            req.context.principal, user_id, certificate_id, changes, expected, idempotent
        )
        responses.send(resp, responses.shown(view))

    @operation(
        "Delete a certificate and its key",
        {204: Answer("Deleted.")},
        description="Responds with 409 `hostnames_lost` if three conditions are met: the "
        "certificate is active, a terminator that reported within 24 hours serves it, and one of "
        "its hostnames has no other served certificate.",
        parameters=[_ALLOW_LOST, IF_MATCH, IDEMPOTENCY_KEY],
        refusals=[NotFound, Invalid, Conflict, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_delete(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        query = request_parsing.Query(req)
        allowed = query.flag("allow_lost_hostnames") or False
        query.check()
        idempotent = responses.idempotent(req, responses.deleted)
        principal, expected = req.context.principal, etags.expected(req)
        self._certificates.delete(
            principal, user_id, certificate_id, expected, idempotent, allow_lost_hostnames=allowed
        )
        resp.status = 204


class ActiveResource(Resource[Certificates]):
    """The activation of a certificate."""

    @operation(
        "Activate or deactivate a certificate",
        {202: Answer("Stored durably. Notifications may still be pending.", Activated)},
        description="The request can be repeated: if the certificate already has the requested "
        "state, nothing changes, no event is sent, and the response is the same. A deactivation "
        "is rejected under the same conditions as a deletion (409 `hostnames_lost`), unless "
        "`allow_lost_hostnames` is true.",
        body=Activation,
        parameters=WRITE,
        refusals=[NotFound, Conflict, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_patch(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        activation = request_parsing.read(req, Activation)
        reply = Reply(202, encode(Activated(certificate_id, activation.active)))
        idempotent = responses.idempotent(req, lambda _nothing: reply)
        expected = etags.expected(req)
        self._service.set_active(
            req.context.principal, user_id, certificate_id, activation, expected, idempotent
        )
        responses.send(resp, reply)


def _uploaded(view: UploadView) -> Reply:
    return Reply(201, encode(view), certificate_path(view.user_id, view.id))
