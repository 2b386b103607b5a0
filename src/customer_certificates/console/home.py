"""/console"""

from falcon import Request, Response

from ..services.access.permissions import users
from .page import Page, redirect


class HomePage(Page):
    """Leads to the first page of the viewer."""

    allow = users()

    def on_get(self, req: Request, resp: Response) -> None:
        user_id = req.context.viewer.user_id
        redirect(resp, f"/console/users/{user_id}/certificates" if user_id else "/console/overview")
