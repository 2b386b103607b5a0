"""Requests that wait for events are woken when some were recorded (Database.listen)."""

from concurrent.futures import Future
from contextlib import suppress
from threading import Lock

from .. import loop
from .notifications import Listen, Notifications


class Changes:
    """Counts announcements. A request that saw nothing when the count was n waits for another
    count; so none falls between the look and the wait."""

    def __init__(self, listen: Listen) -> None:
        """`listen` is as Announcements takes it."""
        self._listen = listen
        # Never held across a wait.
        self._lock = Lock()
        self._count = 0
        self._next: Future[None] = Future()
        self._announcements: Notifications | None = None
        self._has_ended = False

    def count(self) -> int:
        """How many there were; it begins to listen when it is first asked."""
        with self._lock:
            if self._announcements is None and not self._has_ended:
                self._announcements = Notifications(self._listen, self._heard)
            return self._count

    def wait(self, count: int, seconds: float) -> None:
        """Returns when there are more than `count`, or after `seconds`, or where this ends."""
        with self._lock:
            if self._count != count or self._has_ended:
                return
            heard = self._next
        with suppress(TimeoutError):
            loop.result(heard, max(seconds, 0))

    @property
    def has_ended(self) -> bool:
        """Whether nobody is to wait any more."""
        return self._has_ended

    def close(self) -> None:
        """Ends all waits."""
        with self._lock:
            self._has_ended = True
            if self._announcements:
                self._announcements.close()
            heard = self._next
        if not heard.done():
            heard.set_result(None)

    def _heard(self) -> None:
        with self._lock:
            if self._has_ended:
                return
            self._count += 1
            heard, self._next = self._next, Future()
        heard.set_result(None)
