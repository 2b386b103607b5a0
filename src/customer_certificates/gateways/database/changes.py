"""Wakes requests that wait for events (Database.listen)."""

from concurrent.futures import Future
from contextlib import suppress
from threading import Lock

from .. import loop
from .notifications import Listen, Notifications


class Changes:
    """Counts notifications, so that requests can wait for the next one.

    A request that found nothing at count n waits for another count. So it misses no notification
    between its read and its wait.
    """

    def __init__(self, listen: Listen) -> None:
        """`listen` is as Notifications takes it."""
        self._listen = listen
        # Never held during a wait.
        self._lock = Lock()
        self._count = 0
        self._next: Future[None] = Future()
        self._notifications: Notifications | None = None
        self._has_ended = False

    def count(self) -> int:
        """The number of notifications. The first call starts to listen."""
        with self._lock:
            if self._notifications is None and not self._has_ended:
                self._notifications = Notifications(self._listen, self._on_notification)
            return self._count

    def wait(self, count: int, seconds: float) -> None:
        """Returns once the number exceeds `count`, or after `seconds`.

        Also returns when this object is closed.
        """
        with self._lock:
            if self._count != count or self._has_ended:
                return
            waiting = self._next
        with suppress(TimeoutError):
            loop.result(waiting, max(seconds, 0))

    @property
    def has_ended(self) -> bool:
        """Whether this object is closed, so that no request waits."""
        return self._has_ended

    def close(self) -> None:
        """Wakes all waiting requests for good."""
        with self._lock:
            self._has_ended = True
            if self._notifications:
                self._notifications.close()
            waiting = self._next
        if not waiting.done():
            waiting.set_result(None)

    def _on_notification(self) -> None:
        with self._lock:
            if self._has_ended:
                return
            self._count += 1
            waiting, self._next = self._next, Future()
        waiting.set_result(None)
