"""/openapi.json, and the page at /docs that lets a person try the API"""

from importlib.resources import files
from typing import Any

import msgspec
from falcon import HTTPRouteNotFound, Request, Response

_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"}
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    "script-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
)


class OpenApiResource:
    """The description of the API, for programs."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._body = msgspec.json.encode(document)

    def on_get(self, _req: Request, resp: Response) -> None:
        resp.data = self._body

    on_head = on_get


class DocsResource:
    """The description of the API, for people. All that the page loads comes from here."""

    speaks_json = False

    def __init__(self) -> None:
        self._files = {
            path.name: path
            for path in (files(__package__) / "docs_page").iterdir()
            if "." + path.name.rpartition(".")[2] in _TYPES
        }

    def on_get(self, _req: Request, resp: Response, name: str = "index.html") -> None:
        path = self._files.get(name)
        if path is None:
            raise HTTPRouteNotFound()
        resp.content_type = _TYPES["." + name.rpartition(".")[2]]
        resp.set_header("Content-Security-Policy", _POLICY)
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Cache-Control", "no-cache")
        resp.data = path.read_bytes()

    on_head = on_get
