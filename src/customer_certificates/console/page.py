"""The base class of pages."""

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from falcon import Request, Response

from ..services.access.permissions import WHOLE_USER, Permission
from ..services.etags import encode
from ..web.resource import AnswersHead
from . import forms, sent_back, templates

Service = TypeVar("Service")
V = TypeVar("V")


class Page(AnswersHead):
    """A page. `allow` says who may see it and send its forms, in the terms of the API.

    A form is sent to the URL of its page. If the form is refused, the error handler calls `on_get`
    again, and the template shows `refusal` and the values of `form`.
    """

    allow: ClassVar[Permission] = WHOLE_USER
    # A file that is the same for everybody: it needs no session, and sets no cookie.
    is_static: ClassVar[bool] = False

    def show(self, req: Request, resp: Response, template: str, **values: Any) -> None:
        """Responds with the template, which also gets the values of each page."""
        send(req, resp, template, values)


class ServicePage(Page, Generic[Service]):
    """A page that calls one service."""

    def __init__(self, service: Service) -> None:
        self._service = service


def send(req: Request, resp: Response, template: str, values: Mapping[str, Any]) -> None:
    """Responds with the template."""
    context = req.context
    resp.content_type = "text/html; charset=utf-8"
    resp.text = templates.render(
        template,
        {
            "viewer": context.get("viewer"),
            "mode": context.get("mode"),
            "csrf": context.get("csrf"),
            "path": req.path,
            "query": context.get("query", req.params),
            "refusal": context.get("refusal"),
            "form": sent_back.without_secrets(context.get("form") or forms.EMPTY),
            "request_id": context.request_id,
            "is_fragment": req.get_header("HX-Request") == "true",
            **values,
        },
    )


def decoded(view: object, kind: type[V]) -> V:
    """Returns a view of a service as a `kind`, with all its values.

    Services keep some values of a view as the JSON that the API sends.
    """
    return msgspec.json.decode(encode(view), type=kind)


def redirect(resp: Response, path: str) -> None:
    """Responds with a redirect to a page of the console, which the browser loads with GET."""
    resp.status = 303
    resp.location = path
