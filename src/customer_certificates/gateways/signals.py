"""An event that a signal handler may set, whatever it interrupts."""

from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic

# A handler that runs just before a thread sleeps takes effect when the thread wakes up next.
_WAKE_SECONDS = 0.5


class SignalSafeEvent:
    """Like threading.Event, for one thread that waits.

    An Event's `set` takes a lock. A handler that interrupted the same thread in `set` or `wait`
    would deadlock. A SimpleQueue's `put` may be interrupted by itself
    (https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put).
    """

    def __init__(self) -> None:
        self._is_set = False
        self._queue: SimpleQueue[None] = SimpleQueue()

    def is_set(self) -> bool:
        """Whether the event is set."""
        return self._is_set

    def set(self) -> None:
        """Sets the event, which ends `wait` until `clear`."""
        self._is_set = True
        self._queue.put(None)

    def clear(self) -> None:
        """Resets the event."""
        self._is_set = False
        with suppress(Empty):
            while True:
                self._queue.get_nowait()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until the event is set, or for `seconds`. Returns whether it is set."""
        until = None if seconds is None else monotonic() + seconds
        while not self._is_set:
            left = _WAKE_SECONDS if until is None else min(_WAKE_SECONDS, until - monotonic())
            if left <= 0:
                break
            with suppress(Empty):
                self._queue.get(timeout=left)
        return self._is_set
