"""/summary: numbers of all users' certificates, for operators"""

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.fleet.summary import Summary
from ...services.fleet.summary_views import SummaryView
from ...web import responses
from ...web.operations import Answer, operation
from ...web.resource import Resource


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
