"""/console/incidents and its subpaths"""

import re

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ...services.fleet.incident_views import AffectedView
from ...services.fleet.incidents import IncidentCriteria, Incidents
from ...web import csv_text, filters
from .. import forms
from ..page import ServicePage

_LIMIT = 50
# How often an open page asks for the numbers: for ten minutes. Without an end, it would keep the
# session alive, and the database busy.
_MOST_WAITS = 120
_CRITERIA = ("issuer", "spki", "serials")


class IncidentsPage(ServicePage[Incidents]):
    """The progress of an incident of a CA, and the affected certificates."""

    allow = OPERATORS

    def on_get(self, req: Request, resp: Response) -> None:
        params = forms.params_of(req)
        if not any(params.get(name) for name in _CRITERIA):
            self.show(req, resp, "operator/incidents.html", view=None, next_after=None)
            return
        criteria, after, _ = _criteria(req)
        view, next_after = self._service.read(criteria, after, _LIMIT)
        # So that all pages, the numbers and the file are of the same time.
        params["since"] = f"{view.since:%Y-%m-%dT%H:%M:%SZ}"
        self.show(
            req,
            resp,
            "operator/incidents.html",
            view=view,
            counts=view.counts,
            wait=_MOST_WAITS,
            next_after=next_after,
        )


class IncidentNumbersPage(ServicePage[Incidents]):
    """The numbers of an incident, which the browser loads several times."""

    allow = OPERATORS

    def on_get(self, req: Request, resp: Response) -> None:
        criteria, _, wait = _criteria(req)
        counts = self._service.counts(criteria)
        self.show(req, resp, "fragments/incident_numbers.html", counts=counts, wait=wait)


class IncidentFilePage(ServicePage[Incidents]):
    """The affected certificates of an incident as a file."""

    allow = OPERATORS

    def on_get(self, req: Request, resp: Response) -> None:
        criteria, _, _ = _criteria(req)
        resp.content_type = csv_text.MEDIA_TYPE
        resp.set_header("Content-Disposition", 'attachment; filename="incident.csv"')
        resp.data = csv_text.table(AffectedView, self._service.export(criteria))


def _criteria(req: Request) -> tuple[IncidentCriteria, int, int]:
    """Returns the criteria, the id before the page, and how often the browser may ask again."""
    query = forms.query(req)
    params = forms.params_of(req)
    serials = params.get("serials")
    if isinstance(serials, str):
        # People paste a list with one in each line.
        params["serials"] = re.sub(r"[\s,;]+", ",", serials).strip(",")
    criteria = filters.incident_of(query)
    after = query.whole("after", 0, 0)
    wait = query.whole("wait", 0, 0, _MOST_WAITS)
    query.check()
    return criteria, after, wait
