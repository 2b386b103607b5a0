"""Nobody asks so much that others cannot: a share for each token, or else for each peer."""

import math
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any

from falcon import Request, Response

from ..errors import TooManyRequests
from .token_buckets import TokenBuckets

_BURST_SECONDS = 2
DEFAULT_RATE = 1000


class Limits:
    """Counts in this process: each worker gives its part of what a caller may have.

    Answers say what is left (RateLimit, RateLimit-Policy: draft-ietf-httpapi-ratelimit-headers).
    """

    def __init__(
        self, rate: int | None, *, workers: int, clock: Callable[[], float] = monotonic
    ) -> None:
        """`rate` is in requests a second, 0 for no limit; None limits all but an open service."""
        share = max(1, (DEFAULT_RATE if rate is None else rate) // workers)
        size = self._size = share * _BURST_SECONDS
        self._limited = rate != 0
        self._open_too = rate is not None
        self._share = share
        self._buckets = TokenBuckets(share, size)
        self._policy = f";q={size};w={_BURST_SECONDS}"
        self._clock = clock
        self._lock = Lock()

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Raises TooManyRequests where the caller's share is used up; a resource that is
        `is_silent_beyond_limits` is not asked then, and 204 answered for it."""
        caller = req.context.get("caller")
        if not self._limited or not caller or (caller.kind == "open" and not self._open_too):
            return
        name, key = ("token", caller.token_id) if caller.token_id else ("peer", caller.peer)
        with self._lock:
            left = self._buckets.take((name, key), self._clock())
        wait = math.ceil(max(0.0, -left) / self._share)
        resp.set_header("RateLimit-Policy", f'"{name}"{self._policy}')
        full_again = math.ceil((self._size - left) / self._share)
        resp.set_header("RateLimit", f'"{name}";r={max(0, int(left))};t={full_again}')
        if left < 0 and getattr(resource, "is_silent_beyond_limits", False):
            resp.status = 204
            resp.complete = True
        elif left < 0:
            raise TooManyRequests(
                "You ask for more than your share. Wait, then go on more slowly.",
                retry_after=max(1, wait),
            )
