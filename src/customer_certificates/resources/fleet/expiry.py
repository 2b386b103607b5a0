"""/expiring: the certificates of all users that expire soon"""

from datetime import timedelta

from falcon import Request, Response

from ...errors import Invalid
from ...services.access.permissions import OPERATORS
from ...services.fleet.expiring import FleetExpiring
from ...services.fleet.views import FleetExpiringView
from ...web import etags, pagination, request_parsing
from ...web.filters import AFTER_CURSOR, COVERED, WITHIN
from ...web.operations import IF_NONE_MATCH, LIMIT, Answer, operation
from ...web.resource import Resource


class FleetExpiringResource(Resource[FleetExpiring]):
    """The active certificates of all users that expire soon."""

    @operation(
        "List active certificates of all users that expire soon",
        {
            200: Answer(
                "Certificates that have expired or expire soon, by expiry time.",
                list[FleetExpiringView],
                headers=("Link",),
            )
        },
        description="With `covered`, a page may have few certificates, or none, although there "
        "is a next page.",
        parameters=[WITHIN, COVERED, LIMIT, AFTER_CURSOR, IF_NONE_MATCH],
        refusals=[Invalid],
        allow=OPERATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        after, limit = pagination.slice_by_cursor(query)
        within = timedelta(days=query.days("within", 30))
        covered = query.flag("covered")
        query.check()
        page = self._service.page(within, after, limit, covered)
        pagination.link_next(req, resp, page.next_after)
        etags.answer(req, resp, page.items)
