"""/users/{user_id}/expiring and /users/{user_id}/expiry"""

from datetime import timedelta

from falcon import Request, Response

from ..errors import Invalid, NotFound, PreconditionFailed
from ..services.access.permissions import WHOLE_USER, users
from ..services.expiry.upcoming import Expiring, ExpiringView, ExpirySettings
from ..web import etags, pagination, request_parsing, responses
from ..web.filters import AFTER_CURSOR, WITHIN
from ..web.operations import IF_NONE_MATCH, LIMIT, WRITE, Answer, operation
from ..web.resource import Resource


class ExpiringResource(Resource[Expiring]):
    """Active certificates that expire soon."""

    @operation(
        "List active certificates that expire soon",
        {
            200: Answer(
                "Certificates that have expired or expire soon, by expiry time.",
                list[ExpiringView],
                headers=("Link",),
            )
        },
        parameters=[WITHIN, LIMIT, AFTER_CURSOR, IF_NONE_MATCH],
        refusals=[Invalid, NotFound],
        allow=users("certificates:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        query = request_parsing.Query(req)
        after, limit = pagination.slice_by_cursor(query)
        within = timedelta(days=query.days("within", 30))
        query.check()
        page = self._service.page(user_id, within, after, limit)
        pagination.link_next(req, resp, page.next_after)
        etags.answer(req, resp, page.items)


class ExpirySettingsResource(Resource[Expiring]):
    """The expiry notice settings of a user."""

    @operation(
        "Show when the user gets expiry notices",
        {200: Answer("The thresholds.", ExpirySettings)},
        parameters=[IF_NONE_MATCH],
        refusals=[NotFound],
        allow=users(),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        etags.answer(req, resp, self._service.settings(user_id))

    @operation(
        "Set when the user gets expiry notices",
        {200: Answer("The updated thresholds.", ExpirySettings)},
        description="The user gets one notice for each threshold of a certificate's version: a "
        "`certificate.expiring` webhook, and an email if the service sends email.",
        body=ExpirySettings,
        parameters=WRITE,
        refusals=[NotFound, PreconditionFailed],
        allow=WHOLE_USER,
    )
    def on_put(self, req: Request, resp: Response, user_id: int) -> None:
        settings = request_parsing.read(req, ExpirySettings)
        idempotent, expected = responses.idempotent(req, responses.shown), etags.expected(req)
        view = self._service.set(req.context.principal, user_id, settings, expected, idempotent)
        responses.send(resp, responses.shown(view))
