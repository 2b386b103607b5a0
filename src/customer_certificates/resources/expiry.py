"""/users/{user_id}/expiring and /users/{user_id}/expiry"""

from datetime import timedelta

from falcon import Request, Response

from ..errors import Invalid, NotFound, PreconditionFailed
from ..services.access.permissions import WHOLE_USER, users
from ..services.expiry.upcoming import Expiring, ExpiringView, ExpirySettings
from ..web import (
    etags,
    pagination,
    request_parsing,
    responses,
)
from ..web.operations import (
    AFTER,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    LIMIT,
    NOT_MODIFIED,
    Answer,
    Parameter,
    operation,
)

_WITHIN = Parameter(
    "within",
    "query",
    "Those that end in so many days at most, or have ended; 30d by default.",
    {"type": "string", "pattern": "^[0-9]{1,4}d$", "examples": ["30d"]},
)


class ExpiringResource:
    """What ends soon."""

    def __init__(self, expiring: Expiring) -> None:
        self._expiring = expiring

    @operation(
        "List active certificates that end soon",
        {
            200: Answer(
                "Those that have ended and that end soon, by their end.",
                list[ExpiringView],
                headers=("ETag", "Link"),
            ),
            304: NOT_MODIFIED,
        },
        parameters=[_WITHIN, LIMIT, AFTER, IF_NONE_MATCH],
        refusals=[Invalid, NotFound],
        allow=users("certificates:read"),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        query = request_parsing.Query(req)
        after, limit = pagination.wanted(query)
        within = timedelta(days=query.days("within", 30))
        query.check()
        found, next_after = self._expiring.page(user_id, within, after, limit)
        pagination.link_next(req, resp, next_after)
        etags.answer(req, resp, found)

    on_head = on_get


class ExpirySettingsResource:
    """When a user is told of the ends of certificates."""

    def __init__(self, expiring: Expiring) -> None:
        self._expiring = expiring

    @operation(
        "Show when the user is told that certificates end",
        {200: Answer("The thresholds.", ExpirySettings, headers=("ETag",)), 304: NOT_MODIFIED},
        parameters=[IF_NONE_MATCH],
        refusals=[NotFound],
        allow=users(),
    )
    def on_get(self, req: Request, resp: Response, user_id: int) -> None:
        etags.answer(req, resp, self._expiring.settings(user_id))

    on_head = on_get

    @operation(
        "Set when the user is told that certificates end",
        {200: Answer("The thresholds as they are now.", ExpirySettings, headers=("ETag",))},
        description="Of each threshold of a certificate's version the user is told once, by "
        "webhook as certificate.expiring, and by mail where the service sends any.",
        body=ExpirySettings,
        parameters=[IF_MATCH, IDEMPOTENCY_KEY],
        refusals=[NotFound, PreconditionFailed],
        allow=WHOLE_USER,
    )
    def on_put(self, req: Request, resp: Response, user_id: int) -> None:
        wanted = request_parsing.read(req, ExpirySettings)
        once = responses.once(req, responses.shown)
        expected = etags.expected(req)
        view = self._expiring.set(req.context.caller, user_id, wanted, expected, once)
        responses.send(resp, responses.shown(view))
