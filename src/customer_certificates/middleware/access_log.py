"""One line and one count for each request; its id on every answer."""

import re
from datetime import UTC, datetime
from random import getrandbits
from time import perf_counter
from typing import Any

from falcon import HTTP_METHODS, Request, Response

from ..gateways.metrics import Metrics
from ..gateways.request_lines import RequestLine, RequestLines
from ..services.events.trace_context import child_of, set_span

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# A client may invent methods without number; what counts them must not grow with that.
_METHODS = frozenset(HTTP_METHODS)


class AccessLog:
    """The first to see a request and the last to see its answer."""

    def __init__(self, lines: RequestLines, metrics: Metrics, routes: dict[str, str]) -> None:
        """`routes` gives for each URI template the name under which it is counted."""
        self._lines = lines
        self._metrics = metrics
        self._routes = routes

    def process_request(self, req: Request, resp: Response) -> None:
        """Gives the request its id: the client's own, where it sent a sane one."""
        req.context.started = perf_counter()
        req.context.peer = req.remote_addr
        request_id = req.env.get("HTTP_X_REQUEST_ID")
        if request_id is None or not _SANE_ID.fullmatch(request_id):
            request_id = f"{getrandbits(64):016x}"
        req.context.request_id = request_id
        resp.set_header("X-Request-Id", request_id)
        header = req.env.get("HTTP_TRACEPARENT")
        req.context.traceparent = child_of(header) if header else None
        # For each request, also without a trace: the thread had another request before.
        set_span(req.context.traceparent)

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Remembers whose data it is about."""
        req.context.user_id = params.get("user_id")

    def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        """Counts the answer and writes its line. Neither tells a path, a body or a query."""
        seconds = perf_counter() - req.context.started
        route = self._routes.get(req.uri_template or "", "none")
        status = resp.status_code
        method = req.method if req.method in _METHODS else "other"
        self._metrics.request(method, route, str(status), seconds)
        self._lines.write(
            RequestLine(
                datetime.now(UTC),
                method,
                route,
                status,
                round(seconds * 1000, 2),
                req.context.request_id,
                req.context.peer,
                req.context.get("user_id"),
                req.context.traceparent,
            )
        )
