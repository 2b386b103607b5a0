"""/users/{user_id}/certificates/{certificate_id}/versions, /rollback and /pending"""

from falcon import Request, Response

from ..errors import Conflict, NotFound, PreconditionFailed
from ..services.access.permissions import users
from ..services.certificates.requests import Rollback
from ..services.certificates.versions.service import Versions
from ..services.certificates.views import CertificateView
from ..services.etags import encode
from ..web import etags, request_parsing, responses
from ..web.operations import IDEMPOTENCY_KEY, IF_MATCH, Answer, operation


class VersionsResource:
    """The versions of a certificate."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

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
        resp.data = encode(self._versions.all(user_id, certificate_id))

    on_head = on_get


class RollbackResource:
    """The rollback to an earlier version."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    @operation(
        "Roll back to an earlier version",
        {
            200: Answer(
                "Rolled back, or unchanged if the certificate was already this one.",
                CertificateView,
                headers=("ETag",),
            )
        },
        description="The earlier version is stored again as the next version. A pending version "
        "stays pending, with the version number after that. The request can be repeated: if the "
        "certificate is already the requested one, nothing changes.",
        body=Rollback,
        parameters=[IF_MATCH, IDEMPOTENCY_KEY],
        refusals=[NotFound, Conflict, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        rollback = request_parsing.read(req, Rollback)
        idempotent = responses.idempotent(req, responses.shown)
        expected = etags.expected(req)
        view = self._versions.roll_back(
            req.context.principal, user_id, certificate_id, rollback, expected, idempotent
        )
        responses.send(resp, responses.shown(view))


class PendingResource:
    """The scheduled cutover of a certificate."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    @operation(
        "Cancel a scheduled cutover",
        {204: Answer("Canceled.")},
        description="Deletes the pending version and its key. The current version stays. A "
        "certificate with a scheduled activation stays inactive.",
        parameters=[IF_MATCH, IDEMPOTENCY_KEY],
        refusals=[NotFound, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_delete(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        idempotent = responses.idempotent(req, responses.deleted)
        expected = etags.expected(req)
        self._versions.cancel(req.context.principal, user_id, certificate_id, expected, idempotent)
        resp.status = 204
