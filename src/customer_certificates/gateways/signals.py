"""What a signal's handler may set, whatever it interrupts."""

from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic

# A handler that comes just before a thread goes to sleep is run when it wakes up next.
_LOOK_SECONDS = 0.5


class SignalSafeEvent:
    """As threading.Event, for one thread that waits.

    An Event's `set` takes a lock: called by a handler that has interrupted the same thread in `set`
    or `wait`, it would wait for itself for ever. A SimpleQueue's `put` may be interrupted by itself
    (https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put).
    """

    def __init__(self) -> None:
        self._is_set = False
        self._queue: SimpleQueue[None] = SimpleQueue()

    def is_set(self) -> bool:
        """Whether it is."""
        return self._is_set

    def set(self) -> None:
        """Ends `wait`, now and until `clear`."""
        self._is_set = True
        self._queue.put(None)

    def clear(self) -> None:
        """What was set before is forgotten."""
        self._is_set = False
        with suppress(Empty):
            while True:
                self._queue.get_nowait()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until it is set, or for so long; whether it is."""
        until = None if seconds is None else monotonic() + seconds
        while not self._is_set:
            left = _LOOK_SECONDS if until is None else min(_LOOK_SECONDS, until - monotonic())
            if left <= 0:
                break
            with suppress(Empty):
                self._queue.get(timeout=left)
        return self._is_set
