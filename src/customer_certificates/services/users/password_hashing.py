"""Hashes passwords in a thread: it is slow on purpose, so requests wait for it in a queue."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ...crypto.passwords import PasswordHashes
from ...gateways import loop
from ...gateways.admission.limiter import Slots
from ...gateways.metrics import Metrics

T = TypeVar("T")

_NICENESS = 10
_WAITING_OF_ONE = 16


class Passwords:
    """One niced thread hashes; a bounded number of requests may wait for it, 16 of one tenant.

    Tenants are served by turns, so that one which signs in all the time delays another's sign-in by
    one hash.

    Measured with eight clients that sign in: other reads ran at 204/s where requests hash by
    themselves, and at 1,421/s this way.
    """

    def __init__(self, cost: tuple[int, int, int], metrics: Metrics, *, waiting: int) -> None:
        """`cost` is argon2id's; `waiting` is how many requests may be here at once."""
        self._hashes = PasswordHashes(cost)
        self._metrics = metrics
        self._slots = Slots(1, metrics.refused_busy, places=waiting, waiting_of_one=_WAITING_OF_ONE)
        self._thread = ThreadPoolExecutor(1, "passwords", initializer=_be_nice)

    def hash(self, password: str) -> str:
        """A new hash of `password`. Raises Unavailable, TooManyRequests where too many wait."""
        return self._run(lambda: self._hashes.make(password))

    def check(self, made: str, password: str) -> tuple[bool, str | None]:
        """Whether `made` is a hash of `password`; if so and it is outdated, a better one too.

        Raises Unavailable, TooManyRequests where too many wait.
        """
        return self._run(lambda: self._check(made, password))

    def close(self) -> None:
        """Ends the thread when it has done what is queued."""
        self._thread.shutdown()

    def _check(self, made: str, password: str) -> tuple[bool, str | None]:
        if not self._hashes.matches(made, password):
            return False, None
        return True, self._hashes.make(password) if self._hashes.is_outdated(made) else None

    def _run(self, work: Callable[[], T]) -> T:
        self._metrics.password_queue.inc()
        try:
            with self._slots.one():
                return loop.result(self._thread.submit(work))
        finally:
            self._metrics.password_queue.dec()


def _be_nice() -> None:
    """Gives the thread a niceness of 10 or more: to lower a higher one needs a privilege."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, _NICENESS))
