"""/console/overview"""

from falcon import Request, Response

from ...services.access.permissions import OPERATORS
from ..page import Page


class OverviewPage(Page):
    """The certificates of all users at a glance."""

    allow = OPERATORS

    def on_get(self, req: Request, resp: Response) -> None:
        self.show(req, resp, "operator/overview.html")
