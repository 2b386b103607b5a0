"""Counters over a time window: shared in Redis, or local to this process."""

from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

from .circuit_breaker import RedisBreaker

_MAX_LOCAL_COUNTERS = 10_000


class Count(NamedTuple):
    """A count. `number` includes the last addition. `shared`: all processes count together."""

    number: int
    seconds_left: int
    shared: bool


class _LocalCount(NamedTuple):
    number: int
    expires_at: datetime


class Counters:
    """Counters by name. One starts with its first addition, and expires with its time window."""

    def __init__(self, redis: RedisBreaker | None) -> None:
        """Counts in this process without `redis`, or while it does not respond."""
        self._redis = redis
        self._lock = Lock()
        # Ordered by the last addition.
        self._local: dict[str, _LocalCount] = {}

    def add(self, name: str, seconds: int, now: datetime) -> Count:
        """Adds one to the counter `name`, which expires `seconds` after its first addition."""
        shared = self._redis and self._redis.ask(lambda client: _add(client, name, seconds))
        if shared:
            number, seconds_left = shared
            return Count(number, max(seconds_left, 1), shared=True)
        with self._lock:
            local = self._local.pop(name, None)
            if local is None or local.expires_at <= now:
                local = _LocalCount(0, now + timedelta(seconds=seconds))
                if len(self._local) >= _MAX_LOCAL_COUNTERS:
                    del self._local[next(iter(self._local))]
            local = self._local[name] = local._replace(number=local.number + 1)
        return Count(local.number, int((local.expires_at - now).total_seconds()) + 1, shared=False)

    def undo(self, name: str, count: Count) -> None:
        """Undoes the addition that returned `count`."""
        if self._redis and count.shared:
            self._redis.ask(lambda client: _undo(client, name))
            return
        with self._lock:
            if local := self._local.get(name):
                self._local[name] = local._replace(number=local.number - 1)


def _add(client: Any, name: str, seconds: int) -> tuple[int, int]:
    """Increments and sets the expiry in one transaction, so no counter lacks an expiry."""
    with client.pipeline() as pipeline:
        _, number, seconds_left = (
            pipeline.set(_key(name), 0, ex=seconds, nx=True)
            .incr(_key(name))
            .ttl(_key(name))
            .execute()
        )
    return number, seconds_left


def _undo(client: Any, name: str) -> None:
    # A counter that has expired meanwhile must not restart below zero.
    with client.pipeline() as pipeline:
        pipeline.set(_key(name), 1, ex=1, nx=True).decr(_key(name)).execute()


def _key(name: str) -> str:
    return f"cc:count:{name}"
