"""/users/{user_id}/certificates/{certificate_id}/versions and /rollback"""

from falcon import Request, Response

from ..errors import Conflict, NotFound, PreconditionFailed
from ..services.rights import users
from ..services.uploads import Rollback
from ..services.versions import Versions
from ..services.views import CertificateView, encode
from . import conditional, payloads, replies
from .operation import IDEMPOTENCY_KEY, IF_MATCH, Answer, operation


class VersionsResource:
    """What a certificate is and was."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    @operation(
        "List a certificate's versions",
        {200: Answer("The present version and the last four before it.", list[CertificateView])},
        description="Newest first, each as the certificate was then; only the present one can be "
        "active.",
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
        "A request may be repeated: where it is that already, nothing changes.",
        body=Rollback,
        parameters=[IF_MATCH, IDEMPOTENCY_KEY],
        refusals=[NotFound, Conflict, PreconditionFailed],
        allow=users("certificates:write"),
    )
    def on_post(self, req: Request, resp: Response, user_id: int, certificate_id: int) -> None:
        wanted = payloads.read(req, Rollback)
        once = replies.once(req, replies.shown)
        expected = conditional.expected(req)
        view = self._versions.roll_back(
            req.context.caller, user_id, certificate_id, wanted, expected, once
        )
        replies.send(resp, replies.shown(view))
