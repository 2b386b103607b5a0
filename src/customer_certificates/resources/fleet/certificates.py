"""/certificates: the certificates of all users"""

from falcon import Request, Response

from ...errors import Invalid
from ...services.access.permissions import OPERATORS
from ...services.fleet.search import Fleet
from ...services.fleet.views import FleetCertificate
from ...web import etags, filters, pagination, request_parsing
from ...web.operations import IF_NONE_MATCH, LABEL, LIMIT, Answer, operation
from ...web.resource import Resource


class FleetCertificatesResource(Resource[Fleet]):
    """The certificates of all users."""

    @operation(
        "Find certificates of all users",
        {200: Answer("Certificates.", list[FleetCertificate], headers=("Link",))},
        description="All conditions must match. Certificates are listed by id. With `issuer`, "
        "`expires_before`, `expires_after`, `status=expired`, or a trust other than `public` and "
        "`unreadable`, they are listed by expiry. With `status=not_yet_valid`, they are listed by "
        "`not_before`. A page may have few certificates, or none, although there is a next page.",
        parameters=[
            filters.HOSTNAME,
            filters.EXPIRES_BEFORE,
            filters.EXPIRES_AFTER,
            filters.ISSUER,
            filters.SERIAL_NUMBER,
            filters.SPKI,
            filters.FINGERPRINT,
            filters.STATUS,
            filters.TRUST,
            filters.SERVABLE,
            filters.USER,
            filters.EXTERNAL_ID,
            LABEL,
            LIMIT,
            filters.AFTER_CURSOR,
            IF_NONE_MATCH,
        ],
        refusals=[Invalid],
        allow=OPERATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        criteria = filters.fleet_filter_of(query)
        after, limit = pagination.slice_by_cursor(query)
        query.check()
        page = self._service.page(criteria, after, limit)
        pagination.link_next(req, resp, page.next_after)
        etags.answer(req, resp, page.items)
