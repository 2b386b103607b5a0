"""Logs and counts each request, and sets its id on the response."""

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
# Clients may invent methods, but the number of metric labels must stay bounded.
_METHODS = frozenset(HTTP_METHODS)


class AccessLog:
    """The outermost middleware."""

    def __init__(self, lines: RequestLines, metrics: Metrics, routes: dict[str, str]) -> None:
        """`routes` maps each URI template to its name in metrics."""
        self._lines = lines
        self._metrics = metrics
        self._routes = routes

    def process_request(self, req: Request, resp: Response) -> None:
        """Sets the request id. A valid id from the client is kept."""
        req.context.started = perf_counter()
        req.context.peer = req.remote_addr
        request_id = req.env.get("HTTP_X_REQUEST_ID")
        if request_id is None or not _SANE_ID.fullmatch(request_id):
            request_id = f"{getrandbits(64):016x}"
        req.context.request_id = request_id
        resp.set_header("X-Request-Id", request_id)
        header = req.env.get("HTTP_TRACEPARENT")
        req.context.traceparent = child_of(header) if header else None
        # Also without a trace, because the thread keeps the span of its previous request.
        set_span(req.context.traceparent)

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Remembers the user whose data is requested."""
        req.context.user_id = params.get("user_id")

    def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        """Counts and logs the response, without its path, query or body."""
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
