"""/users/{user_id}/certificates and what is below"""

from typing import Annotated

import msgspec
from falcon import Request, Response
from msgspec import Meta

from ..errors import Invalid, NotFound, PreconditionFailed
from ..services.certificates import (
    Activation,
    CertificateFilter,
    Certificates,
    CertificateUpload,
)
from ..services.views import CertificateView
from . import conditional, pages, payloads
from .operation import (
    AFTER,
    IF_MATCH,
    IF_NONE_MATCH,
    LIMIT,
    NOT_MODIFIED,
    Answer,
    Parameter,
    operation,
)

_ACTIVE = Parameter(
    "active",
    "query",
    "Only active ones (true) or only inactive ones (false); both where it is left out.",
    {"type": "string", "enum": ["true", "false"]},
)


class Uploaded(msgspec.Struct):
    """A certificate that was stored."""

    id: Annotated[int, Meta(ge=1, description="The certificate's id.", examples=[1])]
    user_id: Annotated[int, Meta(ge=1, description="Whose it is.", examples=[1])]
    active: Annotated[bool, Meta(description="Whether it is to be served.", examples=[True])]


class Activated(msgspec.Struct):
    """Whether the certificate is to be served from now on."""

    id: Annotated[int, Meta(ge=1, description="The certificate's id.", examples=[1])]
    active: Annotated[bool, Meta(description="Whether it is to be served.", examples=[True])]


class CertificatesResource:
    """A user's certificates."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    @operation(
        "Upload a certificate and its private key",
        {201: Answer("Stored.", Uploaded, headers=("Location",))},
        body=CertificateUpload,
        parameters=[IF_MATCH],
        refusals=[NotFound, PreconditionFailed],
    )
    def on_post(self, req: Request, resp: Response, user_id: int) -> None:
        upload = payloads.read(req, CertificateUpload)
        certificate_id = self._certificates.upload(user_id, upload, conditional.expected(req))
        resp.status = 201
        resp.location = f"/users/{user_id}/certificates/{certificate_id}"
        resp.data = msgspec.json.encode(Uploaded(certificate_id, user_id, upload.active))

    @operation(
        "List a user's certificates",
        {
            200: Answer("Certificates, by id.", list[CertificateView], headers=("ETag", "Link")),
            304: NOT_MODIFIED,
        },
        parameters=[_ACTIVE, LIMIT, AFTER, IF_NONE_MATCH],
        refusals=[NotFound, Invalid],
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        query = payloads.Query(req)
        wanted = CertificateFilter(query.flag("active"), *pages.wanted(query))
        query.check()
        tag, page = self._certificates.page(user_id, wanted, conditional.known(req))
        if page:
            pages.link_next(req, resp, page.next_after)
        conditional.send(resp, tag, page.body if page else None)

    on_head = on_get


class CertificateResource:
    """One of a user's certificates."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    @operation(
        "Show a certificate",
        {200: Answer("The certificate.", CertificateView, headers=("ETag",)), 304: NOT_MODIFIED},
        parameters=[IF_NONE_MATCH],
        refusals=[NotFound],
    )
    def on_get(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        conditional.answer(req, resp, self._certificates.get(user_id, certificate_id))

    on_head = on_get

    @operation(
        "Delete a certificate and its key",
        {204: Answer("Gone.")},
        parameters=[IF_MATCH],
        refusals=[NotFound, PreconditionFailed],
    )
    def on_delete(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        self._certificates.delete(user_id, certificate_id, conditional.expected(req))
        resp.status = 204


class ActiveResource:
    """Whether a certificate is active."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    @operation(
        "Activate or deactivate a certificate",
        {202: Answer("Stored and durable; others may still be being told.", Activated)},
        description="A request may be repeated: where it is so already, nothing changes and nobody "
        "is told, and the answer is the same.",
        body=Activation,
        parameters=[IF_MATCH],
        refusals=[NotFound, PreconditionFailed],
    )
    def on_patch(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        wanted = payloads.read(req, Activation)
        self._certificates.set_active(user_id, certificate_id, wanted, conditional.expected(req))
        resp.status = 202
        resp.data = msgspec.json.encode(Activated(certificate_id, wanted.active))
