"""Counters over a time window: shared in Redis, or local to this process."""

from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

from .circuit_breaker import RedisBreaker

_MOST_NAMES = 10_000


class Count(NamedTuple):
    """A count.

    `number` includes the last addition. `shared`: all processes count together.
    """

    number: int
    seconds_left: int
    shared: bool


class _Own(NamedTuple):
    number: int
    end: datetime


class Counters:
    """Counters by name.

    A counter starts with its first addition, and expires with its time window.
    """

    def __init__(self, redis: RedisBreaker | None) -> None:
        """Counts in this process without `redis`, or while it does not respond."""
        self._redis = redis
        self._lock = Lock()
        # Ordered by the last addition.
        self._own: dict[str, _Own] = {}

    def add(self, name: str, seconds: int, now: datetime) -> Count:
        """Adds one to the counter `name` and returns the count.

        The counter expires `seconds` after its first addition.
        """
        counted = self._redis and self._redis.ask(lambda client: _add(client, name, seconds))
        if counted:
            number, left = counted
            return Count(number, max(left, 1), shared=True)
        with self._lock:
            own = self._own.pop(name, None)
            if own is None or own.end <= now:
                own = _Own(0, now + timedelta(seconds=seconds))
                self._make_room()
            own = self._own[name] = own._replace(number=own.number + 1)
        return Count(own.number, int((own.end - now).total_seconds()) + 1, shared=False)

    def take_back(self, name: str, count: Count) -> None:
        """Undoes the addition that returned `count`."""
        if self._redis and count.shared:
            self._redis.ask(lambda client: _take_back(client, name))
            return
        with self._lock:
            if own := self._own.get(name):
                self._own[name] = own._replace(number=own.number - 1)

    def _make_room(self) -> None:
        if len(self._own) >= _MOST_NAMES:
            del self._own[next(iter(self._own))]


def _add(client: Any, name: str, seconds: int) -> tuple[int, int]:
    """Increments and sets the expiry in one transaction.

    So no counter lacks an expiry.
    """
    with client.pipeline() as together:
        _, number, left = (
            together.set(_key(name), 0, ex=seconds, nx=True)
            .incr(_key(name))
            .ttl(_key(name))
            .execute()
        )
    return number, left


def _take_back(client: Any, name: str) -> None:
    # A counter that has expired meanwhile must not restart below zero.
    with client.pipeline() as together:
        together.set(_key(name), 1, ex=1, nx=True).decr(_key(name)).execute()


def _key(name: str) -> str:
    return f"cc:count:{name}"
