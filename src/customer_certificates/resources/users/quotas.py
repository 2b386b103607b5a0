"""/users/{user_id}/quotas"""

from falcon import Request, Response

from ...errors import NotFound, PreconditionFailed
from ...services.access.permissions import OPERATORS, users
from ...services.users.quotas import QuotaLimits, Quotas, QuotasView
from ...web import etags, request_parsing, responses
from ...web.operations import (
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    NOT_MODIFIED,
    Answer,
    operation,
)


class QuotasResource:
    """How much a user may store."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    @operation(
        "Show the user's quotas",
        {
            200: Answer("Limits, and what is used of them.", QuotasView, headers=("ETag",)),
            304: NOT_MODIFIED,
        },
        description="A request that exceeds a quota is refused with 409 `quota_exceeded`; "
        "`field` names the quota (docs/reference/limits.md).",
        parameters=[IF_NONE_MATCH],
        refusals=[NotFound],
        allow=users(),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        etags.answer(req, resp, self._quotas.of(user_id))

    on_head = on_get

    @operation(
        "Set the user's quotas",
        {200: Answer("The quotas as they are now.", QuotasView, headers=("ETag",))},
        description="Replaces all limits that were set before. Nothing is removed if more is used "
        "than a limit allows; requests that add to it are refused.",
        body=QuotaLimits,
        parameters=[IF_MATCH, IDEMPOTENCY_KEY],
        refusals=[NotFound, PreconditionFailed],
        allow=OPERATORS,
    )
    def on_put(self, req: Request, resp: Response, user_id: int) -> None:
        wanted = request_parsing.read(req, QuotaLimits)
        once = responses.once(req, responses.shown)
        expected = etags.expected(req)
        view = self._quotas.set(req.context.caller, user_id, wanted, expected, once)
        responses.send(resp, responses.shown(view))
