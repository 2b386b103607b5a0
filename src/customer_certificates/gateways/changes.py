"""Whoever waits for events is woken when some were recorded (Database.listen)."""

import logging
from collections.abc import Callable
from threading import Condition, Event, Thread

from ..errors import Unavailable

Listen = Callable[[Callable[[], None], Event], None]

_RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Changes:
    """Counts announcements. Who saw that there was nothing when the count was n waits for another
    count; so none falls between the look and the wait."""

    def __init__(self, listen: Listen) -> None:
        """`listen(heard, closing)` calls `heard` at each announcement, and once whenever it cannot
        know whether it missed one, until `closing`; it raises Unavailable where it cannot go on."""
        self._listen = listen
        self._changed = Condition()
        self._count = 0
        self._closing = Event()
        self._thread: Thread | None = None

    def count(self) -> int:
        """How many there were; it begins to listen when it is first asked."""
        with self._changed:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="changes", daemon=True)
                self._thread.start()
            return self._count

    def wait(self, count: int, seconds: float) -> None:
        """Returns when there are more than `count`, or after `seconds`, or where this ends."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._count != count or self._closing.is_set(), max(seconds, 0)
            )

    @property
    def has_ended(self) -> bool:
        """Whether nobody is to wait any more."""
        return self._closing.is_set()

    def close(self) -> None:
        """Whoever waits, waits no more."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen(self._heard, self._closing)
            except Unavailable:
                _log.warning("Changes are not heard of: the database does not answer")
                self._closing.wait(_RETRY_SECONDS)

    def _heard(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
