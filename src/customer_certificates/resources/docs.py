"""/, /openapi.json, and /docs (Swagger UI)"""

from collections.abc import Callable
from functools import cached_property
from importlib.resources import files
from typing import Any

import msgspec
from falcon import MEDIA_HTML, MEDIA_JSON, HTTPRouteNotFound, Request, Response

from ..services.access.permissions import ANYBODY
from ..services.etags import tag_of
from ..web import etags
from ..web.operations import operation
from ..web.resource import AnswersHead

_PACKAGE = "customer_certificates.resources"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "png": "image/png",
}
# Swagger UI sets inline styles, and its style sheet has images in data: URLs.
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LINKS = {
    "console": "/console",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "healthcheck": "/healthcheck",
}


class RootResource(AnswersHead):
    """The start page: HTML for browsers, JSON for other clients."""

    speaks_json = False

    def __init__(self) -> None:
        self._page = files(_PACKAGE).joinpath("start_page.html").read_text("utf-8")

    @operation("Show links to the documentation and the health check", {}, allow=ANYBODY)
    def on_get(self, req: Request, resp: Response) -> None:
        resp.vary = ("Accept",)
        resp.set_header("X-Content-Type-Options", "nosniff")
        if req.client_prefers((MEDIA_JSON, "text/html")) == "text/html":
            resp.content_type = MEDIA_HTML
            resp.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
            resp.text = self._page
        else:
            resp.data = msgspec.json.encode(_LINKS)


class OpenApiResource(AnswersHead):
    """The API description for programs.

    The description holds no secret, so it requires no credentials. Users enter a token at /docs.
    The first request builds it. Building it at the start would take a quarter of the start time.
    """

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document

    @cached_property
    def _body(self) -> bytes:
        return msgspec.json.encode(self._document())

    @operation("Get the API description", {}, allow=ANYBODY)
    def on_get(self, _req: Request, resp: Response) -> None:
        resp.data = self._body


class DocsResource(AnswersHead):
    """The API description for people. The page loads only files of this service.

    Files are read on each request. Keeping them would take 2 MB in every process.
    """

    speaks_json = False

    def __init__(self) -> None:
        page = files(_PACKAGE) / "docs_page"
        self._files = {path.name: path for path in page.iterdir() if _suffix(path.name) in _TYPES}

    @operation("Show the API description", {}, allow=ANYBODY)
    def on_get(self, req: Request, resp: Response, name: str = "index.html") -> None:
        path = self._files.get(name)
        if path is None:
            raise HTTPRouteNotFound()
        content = path.read_bytes()
        tag = tag_of(content)
        resp.set_header("Content-Security-Policy", _POLICY)
        resp.set_header("X-Content-Type-Options", "nosniff")
        if etags.if_none_match(req).admit(tag):
            etags.send(resp, tag, None)
        else:
            etags.send(resp, tag, content)
            resp.content_type = _TYPES[_suffix(name)]


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]
