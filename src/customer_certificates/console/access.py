"""Who may see a page and send its forms."""

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

from falcon import Request, Response

from ..errors import Forbidden
from ..services.access.console_sessions import ConsoleSessions
from ..services.access.permissions import WHOLE_USER, Permission, require
from ..services.principal import Principal
from . import cookies, forms
from .page import Page

_SAFE_METHODS = frozenset(["GET", "HEAD", "OPTIONS"])


class Viewer(NamedTuple):
    """Who looks at a page. `name` is a user's; None: an operator, or anybody in open mode.

    `return_url` is the page of a portal whose link began the session.
    """

    name: str | None
    user_id: int | None
    is_operator: bool
    has_password: bool
    return_url: str | None = None


class SignInRequired(Exception):  # noqa: N818 - it is an answer
    """Raised for a page that needs a session. `path` is the page for signing in."""

    def __init__(self, path: str) -> None:
        super().__init__("sign-in required")
        self.path = path


class ConsoleAccess:
    """Accepts the session cookie, and nothing else.

    A form must come from a page of the console: its Origin and Sec-Fetch-Site headers say so, and
    it has the CSRF token that belongs to the cookie. In open mode there are no sessions.
    """

    def __init__(
        self,
        sessions: ConsoleSessions,
        open_mode: Callable[[Request, Response], None] | None,
        public_origin: str | None,
    ) -> None:
        """`open_mode` checks requests, and sets the principal, if there are no credentials.

        `public_origin` is the origin of the console's pages behind a proxy that changes the Host.
        """
        self._sessions = sessions
        self._open_mode = open_mode
        self._public_origin = public_origin

    def process_request(self, req: Request, resp: Response) -> None:
        """Raises Forbidden for a form of another site."""
        req.context.mode = "open" if self._open_mode else "closed"
        if self._open_mode:
            self._open_mode(req, resp)
        if req.method not in _SAFE_METHODS:
            self._require_own_page(req)

    def process_resource(
        self, req: Request, resp: Response, resource: Page, params: dict[str, Any]
    ) -> None:
        """Sets the principal, the viewer and the form.

        Raises SignInRequired, Forbidden, NotFound (another user's page), or the errors of a form.
        """
        if resource.is_static:
            return
        if self._open_mode:
            req.context.viewer = Viewer(None, None, is_operator=True, has_password=False)
        else:
            self._identify(req, resp, resource.allow, params)
        if req.method == "POST":
            form = forms.read(req)
            self._require_csrf_token(req, form)
            req.context.form = form
        if hasattr(resource, "on_get") and (req.method == "POST" or req.params):
            req.context.page_of_form = resource

    def _identify(
        self, req: Request, resp: Response, permission: Permission, params: dict[str, Any]
    ) -> None:
        context = req.context
        secret = cookies.secret_of(req)
        session = secret and self._sessions.find(secret, context.request_id, context.peer)
        context.principal = Principal("anybody", context.request_id, context.peer)
        if session:
            principal = context.principal = session.principal
            context.viewer = Viewer(
                session.name,
                principal.user_id,
                is_operator=principal.kind == "operator",
                has_password=principal.password_hash is not None,
                return_url=session.return_url,
            )
        elif not permission.anybody:
            raise SignInRequired(_sign_in_path(req))
        context.secret = secret or cookies.set_new_secret(req, resp)
        context.csrf = cookies.csrf_token(context.secret)
        if not permission.anybody:
            if permission.password and context.viewer.has_password:
                permission = WHOLE_USER
            require(permission, context.principal, params.get("user_id"))

    def _require_csrf_token(self, req: Request, form: forms.Form) -> None:
        if not self._open_mode and not cookies.is_csrf_token(form["csrf"], req.context.secret):
            raise Forbidden("This form is out of date. Reload the page, and send the form again.")

    def _require_own_page(self, req: Request) -> None:
        """Raises Forbidden unless the browser says that a page of the console sends the form."""
        origin, site = req.get_header("Origin"), req.get_header("Sec-Fetch-Site")
        if origin is None and site is None:
            raise Forbidden(
                "The browser does not say where the form comes from. Use a current one."
            )
        # Browsers compute Sec-Fetch-Site. A proxy may have changed the Host that Origin had named.
        is_own = site == "same-origin" if site is not None else self._is_own(origin, req)
        if not is_own:
            raise Forbidden("Forms of pages of other sites are not allowed.")

    def _is_own(self, origin: str | None, req: Request) -> bool:
        host = req.get_header("Host")
        # The scheme is http on this machine only: the browser has no cookie there otherwise.
        return origin in (f"https://{host}", f"{req.scheme}://{host}", self._public_origin)


def _sign_in_path(req: Request) -> str:
    # Only pages that are loaded with GET can be loaded again.
    target = req.relative_uri if req.method == "GET" else "/console"
    return "/console/sign-in" + ("" if target == "/console" else f"?{urlencode({'next': target})}")
