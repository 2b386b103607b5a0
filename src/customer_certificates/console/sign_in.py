"""/console/sign-in and /console/sign-out"""

import re

from falcon import Request, Response

from ..services.access.console_sessions import ConsoleSessions
from ..services.access.permissions import ANYBODY
from . import cookies
from .page import ServicePage, redirect

# A path of the console. A second slash or a backslash would name another host.
_PATH = re.compile(r"/console(/[!-\[\]-~]*)?")


class SignInPage(ServicePage[ConsoleSessions]):
    """The form for an email address and a password, or for an operator's token."""

    allow = ANYBODY

    def on_get(self, req: Request, resp: Response) -> None:
        if req.context.get("viewer"):
            redirect(resp, _next(req))
        else:
            self.show(req, resp, "sign_in.html")

    def on_post(self, req: Request, resp: Response) -> None:
        form, context = req.context.form, req.context
        if context.mode == "open":
            redirect(resp, "/console")
            return
        replaced_from = context.secret, context.request_id, context.peer
        if form["token"]:
            secret = self._service.sign_in_operator(form["token"].strip(), *replaced_from)
        else:
            email, password = form["email"].strip(), form["password"]
            secret = self._service.sign_in_user(email, password, *replaced_from)
        # A new secret, so that nobody knows the session who gave the browser its first cookie.
        cookies.set_secret(req, resp, secret)
        redirect(resp, _next(req))


class SignOutPage(ServicePage[ConsoleSessions]):
    """The buttons that end this session, or every session of the user or token."""

    allow = ANYBODY

    def on_post(self, req: Request, resp: Response) -> None:
        context = req.context
        if context.mode == "open":
            redirect(resp, "/console")
            return
        viewer = context.get("viewer")
        if viewer:
            if context.form["everywhere"]:
                self._service.end_all(context.principal)
            else:
                self._service.end(context.principal, context.secret)
            context.viewer = None
        cookies.set_new_secret(req, resp)
        if viewer and viewer.return_url:
            # The browser would not follow a redirect to another site: the policy is form-action.
            self.show(req, resp, "signed_out.html", return_url=viewer.return_url)
        else:
            redirect(resp, "/console/sign-in")


def _next(req: Request) -> str:
    path = req.get_param("next") or ""
    return path if _PATH.fullmatch(path) and "//" not in path else "/console"
