"""Converts parsed requests to a WSGI environment (PEP 3333)."""

import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools

from ..gateways import loop

WsgiApp = Callable[..., Iterable[bytes]]
Environ = dict[str, Any]
# The status, the headers and the body.
Response = tuple[str, list[tuple[str, str]], bytes]

_BASE: Environ = {
    "SCRIPT_NAME": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}
_HEADER_NAMES: dict[bytes, str] = {}
_MAX_HEADER_NAMES = 1000


class BadTarget(ValueError):  # noqa: N818
    """A request target without a path."""


def environ_for(host: str, port: int, scheme: str, peer: str) -> Environ:
    """Returns the part of the environment that all requests of a connection share."""
    return {
        **_BASE,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "REMOTE_ADDR": peer,
        "wsgi.url_scheme": scheme,
    }


def add_header(environ: Environ, name: bytes, value: bytes) -> None:
    """Adds a header.

    Several headers of one name are joined. A header with an underscore in its name is dropped, as
    it could be mistaken for the one with a hyphen.
    """
    key = _HEADER_NAMES.get(name)
    if key is None:
        if b"_" in name:
            return
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        if len(_HEADER_NAMES) < _MAX_HEADER_NAMES:
            _HEADER_NAMES[name] = key
    text = value.decode("latin-1")
    before = environ.get(key)
    if before is not None:
        text = f"{before}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
    environ[key] = text


def add_target(environ: Environ, method: bytes, target: bytes) -> None:
    """Adds the method, the path and the query. Raises BadTarget."""
    if not target.startswith(b"/"):
        try:
            parsed = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError as error:
            raise BadTarget from error
        path, query = parsed.path or b"/", parsed.query or b""
    else:
        path, _, query = target.partition(b"?")
    if b"%" in path:
        path = unquote_to_bytes(path)
    environ["REQUEST_METHOD"] = method.decode("latin-1")
    environ["PATH_INFO"] = path.decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")


async def run_app(app: WsgiApp, environ: Environ, body: bytes) -> Response:
    """Returns the response of `app`, which runs in a greenlet."""
    environ["wsgi.input"] = BytesIO(body)
    return await loop.spawn(_run, app, environ)


def _run(app: WsgiApp, environ: Environ) -> Response:
    heads: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> None:
        heads.append((status, headers))

    parts = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        if close := getattr(parts, "close", None):
            close()
    status, headers = heads[-1]
    return status, headers, body
