"""/users/{user_id}/quotas"""

from falcon import Request, Response

from ...errors import NotFound, PreconditionFailed
from ...services.access.permissions import OPERATORS, users
from ...services.users.quotas import QuotaLimits, Quotas, QuotasView
from ...web import etags, request_parsing, responses
from ...web.operations import IF_NONE_MATCH, WRITE, Answer, operation
from ...web.resource import Resource


class QuotasResource(Resource[Quotas]):
    """The quotas of a user."""

    @operation(
        "Show the user's quotas",
        {200: Answer("The limits and the current usage.", QuotasView)},
        description="A request that exceeds a quota is rejected with 409 `quota_exceeded`. "
        "`field` names the quota (docs/reference/limits.md).",
        parameters=[IF_NONE_MATCH],
        refusals=[NotFound],
        allow=users(),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        etags.answer(req, resp, self._service.of(user_id))

    @operation(
        "Set the user's quotas",
        {200: Answer("The updated quotas.", QuotasView)},
        description="Replaces all previous limits. If usage exceeds a new limit, nothing is "
        "deleted, but requests that increase the usage are rejected.",
        body=QuotaLimits,
        parameters=WRITE,
        refusals=[NotFound, PreconditionFailed],
        allow=OPERATORS,
    )
    def on_put(self, req: Request, resp: Response, user_id: int) -> None:
        limits = request_parsing.read(req, QuotaLimits)
        idempotent, expected = responses.idempotent(req, responses.shown), etags.expected(req)
        view = self._service.set(req.context.principal, user_id, limits, expected, idempotent)
        responses.send(resp, responses.shown(view))
