"""Sends requests to the service's API, and retries them if a retry is safe."""

import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Self, TypeVar

from .connection import Connection, Server
from .responses import Lost, Unreachable

T = TypeVar("T")

# The largest page of a list.
PAGE = 1000
_ATTEMPTS = 5
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 30.0


class RetryingClient:
    """Requests to a service. Safe to use from several threads."""

    def __init__(self, server: Server, at_once: int = 1) -> None:
        """Opens at most `at_once` connections."""
        self._stopped = threading.Event()
        self._reason = ""
        self._connection = Connection(server, at_once)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def stop(self, reason: str) -> None:
        """Makes every later request, and every wait for a retry, fail with `reason`."""
        self._reason = self._reason or reason
        self._stopped.set()

    def _ask(
        self, kind: type[T], method: str, path: str, payload: dict[str, Any] | None = None
    ) -> T:
        """Sends a request that is safe to repeat."""
        return self._retry(kind, method, path, payload, lambda: None)[0]

    def _items(self, kind: type[T], path: str, limit: int | None = None) -> list[T]:
        """Returns the items of a list from all of its pages, or the first `limit` items."""
        items: list[T] = []
        following: str | None = path
        while following and (limit is None or len(items) < limit):
            attempt = partial(self._page, kind, following)
            (page, following), _ = self._repeat(attempt, lambda: None)
            items += page
        return items[:limit]

    def _page(self, kind: type[T], path: str) -> tuple[list[T], str | None]:
        self._require_going()
        return self._connection.page(kind, path)

    def _retry(
        self,
        kind: type[T],
        method: str,
        path: str,
        payload: dict[str, Any] | None,
        find: Callable[[], T | None],
    ) -> tuple[T, bool]:
        """Returns the response, and whether it is the response to a second attempt.

        Before each further attempt, calls `find`. Returns its result if a lost request was stored.
        """
        return self._repeat(lambda: self._send(kind, method, path, payload), find)

    def _repeat(self, attempt: Callable[[], T], find: Callable[[], T | None]) -> tuple[T, bool]:
        failed = 0
        while True:
            try:
                return attempt(), failed > 0
            except Lost as lost:
                failed += 1
                self._pause(failed, lost)
                if found := find():
                    return found, False

    def _send(
        self, kind: type[T], method: str, path: str, payload: dict[str, Any] | None = None
    ) -> T:
        self._require_going()
        return self._connection.send(kind, method, path, payload)

    def _require_going(self) -> None:
        if self._stopped.is_set():
            raise Unreachable(self._reason)

    def _pause(self, failed: int, lost: Lost) -> None:
        """Waits before the next attempt. Raises Unreachable after the last one."""
        if failed == _ATTEMPTS:
            if lost.is_down:
                self.stop(str(lost))
            advice = f". {lost.advice}" if lost.advice else ""
            raise Unreachable(f"{lost.detail} ({failed} attempts){advice}")
        seconds = lost.retry_after
        if seconds is None:
            # Clients must not retry all at the same moment.
            seconds = _FIRST_PAUSE_SECONDS * 2**failed * random.uniform(0.5, 1)  # noqa: S311
        if self._stopped.wait(min(seconds, _LONGEST_PAUSE_SECONDS)):
            raise Unreachable(self._reason)
