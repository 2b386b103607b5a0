"""Who gets something scarce, and who is refused: the one place where requests wait for others."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from ..errors import Unavailable
from . import loop

_MOST_WAITING = 64
_WAIT_SECONDS = 5.0


class Slots:
    """A number of slots, each for one request at a time; the first to wait is the first served."""

    def __init__(
        self, size: int, on_refusal: Callable[[], None], *, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        """64 requests may wait for each of `size` slots, `wait_seconds` at most; `on_refusal` is
        called for each that is refused."""
        self._free = size
        self._most_waiting = _MOST_WAITING * size
        self._wait_seconds = wait_seconds
        self._on_refusal = on_refusal
        self._waiting: deque[Future[None]] = deque()
        # Never held across a wait.
        self._lock = Lock()
        self._has_one: ContextVar[bool] = ContextVar("has_one", default=False)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def held(self) -> bool:
        """Whether the request that asks holds a slot."""
        return self._has_one.get()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Holds a slot in the block; a request that holds one already needs no other.

        Raises Unavailable at once if too many wait, or after having waited for too long.
        """
        if self._has_one.get():
            yield
            return
        self._take()
        token = self._has_one.set(True)
        try:
            yield
        finally:
            self._has_one.reset(token)
            self._give_back()

    def _take(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            is_full = len(self._waiting) >= self._most_waiting
            place: Future[None] = Future()
            if not is_full:
                self._waiting.append(place)
        if is_full or not self._comes(place):
            self._on_refusal()
            raise Unavailable("Too many requests are waiting just now.", retry_after=1)

    def _comes(self, place: Future[None]) -> bool:
        try:
            loop.result(place, self._wait_seconds)
        except TimeoutError:
            with self._lock:
                if place in self._waiting:
                    self._waiting.remove(place)
                    return False
        # It has come, at the last moment perhaps.
        return True

    def _give_back(self) -> None:
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            place = self._waiting.popleft()
        place.set_result(None)
