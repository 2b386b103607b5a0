"""Rate limits for each token, or for each client address without a token.

An IPv6 client is identified by its /64 network. Each worker process enforces an equal part of the
limit with its own counters. Responses show the remaining requests in the headers RateLimit and
RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers).
"""

import math
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any

from falcon import Request, Response

from ..errors import TooManyRequests
from ..gateways.admission.client_networks import client_network
from ..gateways.admission.token_buckets import TokenBuckets

_BURST_SECONDS = 2


class _Shares:
    def __init__(self, rate: int, workers: int, clock: Callable[[], float]) -> None:
        self.limited = rate > 0
        self._share = max(1, rate // workers)
        self._size = self._share * _BURST_SECONDS
        self._buckets = TokenBuckets(self._share, self._size)
        self._policy = f";q={self._size};w={_BURST_SECONDS}"
        self._clock = clock
        self._lock = Lock()

    def take(self, name: str, key: object) -> float:
        """Takes one request. Returns the remaining ones, below 0 if rejected."""
        with self._lock:
            return self._buckets.take((name, key), self._clock())

    def is_used_up(self, name: str, key: object) -> float | None:
        """Returns the missing amount for one request (below 0), or None."""
        with self._lock:
            left = self._buckets.left((name, key), self._clock())
        return left - 1 if left < 1 else None

    def say(self, resp: Response, name: str, left: float) -> None:
        """Sets the headers that show the remaining requests."""
        resp.set_header("RateLimit-Policy", f'"{name}"{self._policy}')
        full_again = math.ceil((self._size - left) / self._share)
        resp.set_header("RateLimit", f'"{name}";r={max(0, int(left))};t={full_again}')

    def refusal(self, left: float) -> TooManyRequests:
        """Returns the error for a request that lacks `left` (below 0)."""
        return TooManyRequests(
            "Rate limit exceeded. Retry after the delay in Retry-After.",
            retry_after=max(1, math.ceil(-left / self._share)),
        )


class RateLimit:
    """Limits authenticated requests. Must run after authentication."""

    def __init__(self, rate: int, *, workers: int, clock: Callable[[], float] = monotonic) -> None:
        """`rate` is in requests a second, 0 for no limit."""
        self._shares = _Shares(rate, workers, clock)

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Raises TooManyRequests if the caller has exceeded the limit.

        For a resource with `is_silent_beyond_limits`, responds with 204 instead. Static files are
        not counted: a page of the console loads several.
        """
        caller = req.context.get("principal")
        if not self._shares.limited or not caller or getattr(resource, "is_static", False):
            return
        req.context.is_counted = True
        name, key = (
            ("token", caller.token_id) if caller.token_id else ("peer", client_network(caller.peer))
        )
        left = self._shares.take(name, key)
        self._shares.say(resp, name, left)
        if left < 0 and getattr(resource, "is_silent_beyond_limits", False):
            resp.status = 204
            resp.complete = True
        elif left < 0:
            raise self._shares.refusal(left)


class RateLimitOfRefused:
    """Limits requests that fail before authentication: a wrong token or an unknown path.

    They count against a separate limit of the client address. Above the limit, all requests from
    the address are rejected first, so guessing tokens costs no database statement.
    """

    def __init__(self, rate: int, *, workers: int, clock: Callable[[], float] = monotonic) -> None:
        """`rate` is in requests a second, 0 for no limit."""
        self._shares = _Shares(rate, workers, clock)

    def process_request(self, req: Request, resp: Response) -> None:
        """Raises TooManyRequests if the client had too many rejected requests."""
        if not self._shares.limited:
            return
        req.context.is_counted = False
        missing = self._shares.is_used_up("peer", client_network(req.context.peer))
        if missing is not None:
            req.context.is_counted = True
            self._shares.say(resp, "peer", missing)
            raise self._shares.refusal(missing)

    def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        """Counts a rejected request, except for server errors (5xx)."""
        if resp.status_code == 200 and getattr(resource, "is_static", False):
            return
        if not req.context.get("is_counted", True) and resp.status_code < 500:
            left = self._shares.take("peer", client_network(req.context.peer))
            self._shares.say(resp, "peer", left)
