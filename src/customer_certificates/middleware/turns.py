"""So many requests are worked on at once; others wait, but not too many of them, nor too long."""

from collections import deque
from collections.abc import Callable
from threading import Lock

from ..errors import Unavailable

_MOST_WAITING = 64
_WAIT_SECONDS = 5.0


class Turns:
    """A queue for the threads that have a request each; who came first has its turn first."""

    def __init__(
        self, size: int, on_refusal: Callable[[], None], *, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        """`size` requests have their turn at once, and 64 times as many wait, `wait_seconds` at
        most; `on_refusal` is told of each that does not come to its turn."""
        self._free = size
        self._most_waiting = _MOST_WAITING * size
        self._wait_seconds = wait_seconds
        self._on_refusal = on_refusal
        self._waiting: deque[Lock] = deque()
        self._lock = Lock()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self, *, again: bool = False) -> None:
        """Waits for a turn; whoever asks `again`, having given its own back, has it next.

        Raises Unavailable at once where too many wait, or after having waited for too long.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return
            is_full = len(self._waiting) >= self._most_waiting and not again
            if not is_full:
                turn = Lock()
                turn.acquire()
                (self._waiting.appendleft if again else self._waiting.append)(turn)
        if is_full or not self._comes(turn):
            self._on_refusal()
            raise Unavailable("Too many requests are waiting just now.", retry_after=1)

    def give_back(self) -> None:
        """Ends a turn: that of the next in the queue begins."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

    def _comes(self, turn: Lock) -> bool:
        if turn.acquire(timeout=self._wait_seconds):
            return True
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return False
        # It has come in the meantime.
        return True
