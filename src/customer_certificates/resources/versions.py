"""/users/{user_id}/certificates/{certificate_id}/versions, /rollback and /pending"""

from falcon import Request, Response

from ..errors import Conflict, NotFound, PreconditionFailed
from ..services.access.permissions import users
from ..services.certificates.requests import Rollback
from ..services.certificates.versions.service import Versions
from ..services.certificates.views import CertificateView
from ..services.etags import encode
from ..web import etags, request_parsing, responses
from ..web.operations import WRITE, Answer, operation
from ..web.resource import Resource


class VersionsResource(Resource[Versions]):
    """The versions of a certificate."""

    @operation(
        "List a certificate's versions",
        {
            200: Answer(
                "The pending version, the current one and the last four before it.",
                list[CertificateView],
            )
        },
        description="Newest first. Only the current version can be active. The version named by "
        "`pending` of the current version has not been served yet.",
        refusals=[NotFound],
        allow=users("certificates:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        resp.data = encode(self._service.all(user_id, certificate_id))


class RollbackResource(Resource[Versions]):
    """The rollback to an earlier version."""

    @operation(
        "Roll back to an earlier version",
        {
            200: Answer(
                "Rolled back, or unchanged if the certificate was already this one.",
                CertificateView,
            )
        },
        description="The earlier version is stored again as the next version. A pending version "
        "stays pending, with the version number after that. The request can be repeated: if the "
        "certificate is already the requested one, nothing changes.",
        body=Rollback,
        parameters=WRITE,
        refusals=[NotFound, Conflict, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        rollback = request_parsing.read(req, Rollback)
        idempotent, expected = responses.idempotent(req, responses.shown), etags.expected(req)
        view = self._service.roll_back(
            req.context.principal, user_id, certificate_id, rollback, expected, idempotent
        )
        responses.send(resp, responses.shown(view))


class PendingResource(Resource[Versions]):
    """The scheduled cutover of a certificate."""

    @operation(
        "Cancel a scheduled cutover",
        {204: Answer("Canceled.")},
        description="Deletes the pending version and its key. The current version stays. A "
        "certificate with a scheduled activation stays inactive.",
        parameters=WRITE,
        refusals=[NotFound, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_delete(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        idempotent, expected = responses.idempotent(req, responses.deleted), etags.expected(req)
        self._service.cancel(req.context.principal, user_id, certificate_id, expected, idempotent)
        resp.status = 204
