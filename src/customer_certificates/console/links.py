"""/console/links/{token}"""

from falcon import Request, Response

from ..services.access.console_links import ConsoleLinks
from ..services.access.permissions import ANYBODY
from . import cookies
from .page import ServicePage, redirect


class LinkPage(ServicePage[ConsoleLinks]):
    """The page of a link from a portal.

    GET changes nothing, because programs follow links before people do. The button sends POST.
    """

    allow = ANYBODY

    def on_get(self, req: Request, resp: Response, token: str) -> None:
        target = None if req.context.mode == "open" else self._service.target(token)
        if target is None:
            self._refuse(req, resp)
        else:
            self.show(req, resp, "link.html", name=target.name)

    def on_post(self, req: Request, resp: Response, token: str) -> None:
        context = req.context
        secret = None
        if context.mode != "open":
            secret = self._service.redeem(token, context.secret, context.request_id, context.peer)
        if secret is None:
            self._refuse(req, resp)
        else:
            cookies.set_secret(req, resp, secret)
            redirect(resp, "/console")

    def _refuse(self, req: Request, resp: Response) -> None:
        resp.status = 404
        self.show(req, resp, "link_not_valid.html")
