"""/summary and /incidents"""

from falcon import Request, Response

from ...errors import Conflict, Invalid
from ...services.access.permissions import OPERATORS
from ...services.fleet.incident_views import AffectedView, IncidentView
from ...services.fleet.incidents import Incidents
from ...services.fleet.summary import Summary
from ...services.fleet.summary_views import SummaryView
from ...web import csv_text, pagination, request_parsing, responses
from ...web.filters import ISSUER, MOST_SERIALS, SPKI, incident_of
from ...web.operations import PAGE, Answer, Parameter, operation
from ...web.resource import Resource

_SERIALS = Parameter(
    "serials",
    f"Certificates with one of up to {MOST_SERIALS} serial numbers in hexadecimal, with commas "
    "between them.",
    {"type": "string", "examples": ["4aa1b2c3d4e5f607,0123ab"]},
)
_SINCE = Parameter(
    "since",
    "When the incident began. Events since then count as notifications. Default: five days ago.",
    {"type": "string", "format": "date-time", "examples": ["2026-11-23T09:30:00Z"]},
)


class SummaryResource(Resource[Summary]):
    """The numbers of certificates of all users."""

    @operation(
        "Count the certificates of all users",
        {200: Answer("The numbers.", SummaryView)},
        description="Counts current versions, by status, days until expiry, issuer, key algorithm "
        "and trust. The numbers are those of one instant, and take milliseconds for a million "
        "certificates.",
        allow=OPERATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        responses.send_uncached(resp, self._service.read())


class IncidentsResource(Resource[Incidents]):
    """The certificates that an incident of a CA affects."""

    speaks_json = False

    @operation(
        "Show the progress of an incident of a CA",
        {
            200: Answer(
                "The numbers and a page of affected certificates. With `Accept: text/csv`, all of "
                "them as CSV.",
                IncidentView,
                headers=("Link",),
            )
        },
        description="Send exactly one of `issuer`, `spki` and `serials`. A certificate is affected "
        "if its current version, an earlier one, or one that waits for its cutover matches and has "
        "not expired (docs/how-to/fleet.md). CSV has at most 100,000 certificates, and ignores "
        "`limit` and `after`. A cell that could be a formula begins with an apostrophe.",
        parameters=[ISSUER, SPKI, _SERIALS, _SINCE, *PAGE],
        refusals=[Invalid, Conflict],
        allow=OPERATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        criteria = incident_of(query)
        after, limit = pagination.slice_of(query)
        query.check()
        if csv_text.is_preferred(req):
            resp.content_type = csv_text.MEDIA_TYPE
            resp.set_header("Cache-Control", "no-store")
            resp.set_header("Content-Disposition", 'attachment; filename="incident.csv"')
            resp.data = csv_text.table(AffectedView, self._service.export(criteria))
            return
        view, next_after = self._service.read(criteria, after, limit)
        pagination.link_next(req, resp, next_after)
        responses.send_uncached(resp, view)
