"""Error pages, and forms that are shown again with their errors."""

import logging
from typing import Any

import falcon
from falcon import Request, Response

from ..errors import Invalid, PreconditionFailed, Refusal, TooManyRequests, Unavailable
from ..web.problems import STATUSES, phrase
from . import forms
from .access import SignInRequired
from .page import redirect, send

_log = logging.getLogger(__name__)


def refuse(req: Request, resp: Response, refusal: Refusal, params: dict[str, Any]) -> None:
    """Shows the page of the form or of the search again, or an error page."""
    status = STATUSES[type(refusal)]
    if refusal.retry_after is not None:
        resp.set_header("Retry-After", str(refusal.retry_after))
    page = req.context.get("page_of_form")
    req.context.page_of_form = None
    if isinstance(refusal, PreconditionFailed):
        refusal = _changed_meanwhile(req)
    req.context.refusal = refusal
    if page is None or not _shows_page_again(req, refusal):
        _answer(req, resp, status, refusal)
        return
    if req.method == "GET":
        # The page again without the search, whose fields keep their values.
        req.context.query = dict(req.params)
        forms.params_of(req).clear()
    try:
        page.on_get(req, resp, **params)
    except Refusal:
        # For example, the object of the form no longer exists.
        _answer(req, resp, status, refusal)
    except Exception as error:
        fail(req, resp, error, params)
        return
    resp.status = status


def refuse_http(
    req: Request, resp: Response, error: falcon.HTTPError, _params: dict[str, Any]
) -> None:
    """Shows a page for an error of the framework."""
    resp.set_headers(error.headers or {})
    status = falcon.http_status_to_code(error.status)
    detail = "This page does not exist." if status == 404 else error.description or phrase(status)
    _answer(req, resp, status, Refusal(str(detail)))


def fail(req: Request, resp: Response, error: Exception, _params: dict[str, Any]) -> None:
    """Shows a page with the request id. Logs the cause."""
    _log.error("unexpected error, request %s", req.context.request_id, exc_info=error)
    detail = (
        "Internal error. Tell the operator of the service the request ID: its log has the cause."
    )
    _answer(req, resp, 500, Refusal(detail))


def ask_to_sign_in(
    req: Request, resp: Response, error: SignInRequired, _params: dict[str, Any]
) -> None:
    """Sends the browser to the page for signing in, and from there back to where it was."""
    if req.get_header("HX-Request"):
        resp.status = 401
        resp.set_header("HX-Redirect", error.path)
    else:
        redirect(resp, error.path)


def _shows_page_again(req: Request, refusal: Refusal) -> bool:
    if req.method == "GET":
        return isinstance(refusal, Invalid)
    # Beyond a limit, the page of the form would be the very work that the limit prevents.
    return not isinstance(refusal, TooManyRequests | Unavailable)


def _changed_meanwhile(req: Request) -> Refusal:
    """Empties the form, so that it shows the present state, and returns the error for it."""
    req.context.form = forms.Form([("action", req.context.form["action"])], {})
    return PreconditionFailed(
        "It was changed meanwhile, so your change was not stored. The page shows the present "
        "values. Check them, and send your change again."
    )


def _answer(req: Request, resp: Response, status: int, refusal: Refusal) -> None:
    resp.status = status
    template = "fragments/refusal.html" if req.get_header("HX-Request") else "problem.html"
    send(req, resp, template, {"status": status, "phrase": phrase(status), "refusal": refusal})
