"""Who may see a page and send its forms."""

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from falcon import Request, Response

from ..errors import Forbidden
from ..services.access.console_sessions import ConsoleSessions
from ..services.access.permissions import WHOLE_USER, Permission, require
from ..services.principal import Principal
from . import cookies, forms
from .page import Page

_SAFE_METHODS = frozenset(["GET", "HEAD", "OPTIONS"])
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    # Pages show data of a tenant, and the back button must not after signing out.
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Forms must send their origin.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Viewer(NamedTuple):
    """Who looks at a page. `name` is a user's; None: an operator, or anybody in open mode."""

    name: str | None
    user_id: int | None
    is_operator: bool
    has_password: bool


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
        self, sessions: ConsoleSessions, open_mode: Callable[[Request, Response], None] | None
    ) -> None:
        """`open_mode` checks requests, and sets the principal, if there are no credentials."""
        self._sessions = sessions
        self._open_mode = open_mode

    def process_request(self, req: Request, resp: Response) -> None:
        """Sets the headers of each page. Raises Forbidden for a form of another site."""
        resp.set_headers(_HEADERS)
        req.context.mode = "open" if self._open_mode else "closed"
        if self._open_mode:
            self._open_mode(req, resp)
        if req.method not in _SAFE_METHODS:
            _require_own_page(req)

    def process_resource(
        self, req: Request, resp: Response, resource: Page, params: dict[str, Any]
    ) -> None:
        """Sets the principal, the viewer and the form.

        Raises SignInRequired, Forbidden, NotFound (another user's page), or the errors of a form.
        """
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
            )
        elif not permission.anybody:
            raise SignInRequired(_sign_in_path(req))
        context.secret = secret or cookies.set_new_secret(resp)
        context.csrf = cookies.csrf_token(context.secret)
        if not permission.anybody:
            if permission.password and context.viewer.has_password:
                permission = WHOLE_USER
            require(permission, context.principal, params.get("user_id"))

    def _require_csrf_token(self, req: Request, form: forms.Form) -> None:
        if not self._open_mode and not cookies.is_csrf_token(form["csrf"], req.context.secret):
            raise Forbidden("This form is out of date. Reload the page, and send the form again.")


def _require_own_page(req: Request) -> None:
    """Raises Forbidden unless the browser says that a page of the console sends the form."""
    origin, site = req.get_header("Origin"), req.get_header("Sec-Fetch-Site")
    if origin is None and site is None:
        raise Forbidden("The browser does not say where the form comes from. Use a current one.")
    if site not in (None, "same-origin") or not (origin is None or _is_own(origin, req)):
        raise Forbidden("Forms of pages of other sites are not allowed.")


def _is_own(origin: str, req: Request) -> bool:
    try:
        return urlsplit(origin).netloc == req.get_header("Host")
    except ValueError:
        return False


def _sign_in_path(req: Request) -> str:
    # Only pages that are loaded with GET can be loaded again.
    target = req.relative_uri if req.method == "GET" else "/console"
    return "/console/sign-in" + ("" if target == "/console" else f"?{urlencode({'next': target})}")
