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
    """What a certificate is and was."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    @operation(
        "List a certificate's versions",
        {
            200: Answer(
                "The pending version, the present one and the last four before it.",
                list[CertificateView],
            )
        },
        description="Newest first, each as the certificate was then or will be; only the present "
        "one can be active. The one that `pending` of the present one names has not been served "
        "yet.",
        refusals=[NotFound],
        allow=users("certificates:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        resp.data = encode(self._versions.all(user_id, certificate_id))

    on_head = on_get


class RollbackResource:
    """A version before the present one, to be served again."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    @operation(
        "Go back to an earlier version",
        {200: Answer("Replaced, or that already.", CertificateView, headers=("ETag",))},
        description="The certificate is replaced with what it was; that becomes its next version. "
        "A pending version stays pending, with the number after that. A request may be repeated: "
        "where it is that already, nothing changes.",
        body=Rollback,
        parameters=[IF_MATCH, IDEMPOTENCY_KEY],
        refusals=[NotFound, Conflict, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        wanted = request_parsing.read(req, Rollback)
        once = responses.once(req, responses.shown)
        expected = etags.expected(req)
        view = self._versions.roll_back(
            req.context.caller, user_id, certificate_id, wanted, expected, once
        )
        responses.send(resp, responses.shown(view))


class PendingResource:
    """The scheduled cutover of a certificate."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    @operation(
        "Cancel a scheduled cutover",
        {204: Answer("Canceled.")},
        description="The pending version is deleted with its key, and the present one stays. A "
        "certificate that was to be activated stays inactive.",
        parameters=[IF_MATCH, IDEMPOTENCY_KEY],
        refusals=[NotFound, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_delete(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        once = responses.once(req, responses.gone)
        expected = etags.expected(req)
        self._versions.cancel(req.context.caller, user_id, certificate_id, expected, once)
        resp.status = 204
