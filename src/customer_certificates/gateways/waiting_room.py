"""Who gets a child next, and who does not wait for one at all."""

import threading
from collections import deque
from concurrent.futures import Future
from typing import Generic, TypeVar

from ..errors import Unavailable
from . import loop

T = TypeVar("T")

# Ordinary work takes 0.2 to 3 ms; but on a machine with five times as much to do as it has cores,
# four honest uploads in a row have taken more than 0.1 s (measured).
_WAIT_SECONDS = 0.5


class WaitingRoom(Generic[T]):
    """Things for one request at a time, the last used first; requests wait 0.5 s for one at most.

    After one has waited in vain, none waits until a thing is given back that has answered: what
    holds them all is hostile, and is not to hold the threads of all other requests too.
    """

    def __init__(self) -> None:
        # Never held across a wait.
        self._lock = threading.Lock()
        self._idle: list[T] = []
        self._waiting: deque[Future[T]] = deque()
        self._stuck = False

    def take(self) -> T:
        """One that is idle, now or soon. Raises Unavailable where there is none."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._stuck:
                raise _busy()
            place: Future[T] = Future()
            self._waiting.append(place)
        try:
            return loop.result(place, _WAIT_SECONDS)
        except TimeoutError:
            with self._lock:
                if place in self._waiting:
                    self._waiting.remove(place)
                    self._stuck = True
                    raise _busy() from None
            # It came at the very last moment.
            return place.result()

    def give_back(self, thing: T) -> None:
        """It has answered a request."""
        with self._lock:
            self._stuck = False
            self._offer(thing)

    def add(self, thing: T) -> None:
        """It is new. That it took the place of a dead one does not mean that it will last."""
        with self._lock:
            self._offer(thing)

    def clear(self) -> list[T]:
        """Takes out all that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
            return idle

    def _offer(self, thing: T) -> None:
        # Put among the idle, it would be snatched by a request that comes just now: measured, one
        # of four threads then waited in vain beside three that were served thousands of times.
        if self._waiting:
            self._waiting.popleft().set_result(thing)
        else:
            self._idle.append(thing)


def _busy() -> Unavailable:
    return Unavailable("Too many keys and certificates are being examined just now.", retry_after=1)
