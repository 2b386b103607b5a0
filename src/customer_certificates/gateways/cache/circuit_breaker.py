"""Keeps a Redis that is dead or hung from costing anything."""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Any, TypeVar

from dogpile.cache.api import NO_VALUE
from dogpile.cache.proxy import ProxyBackend
from redis import RedisError
from redis import exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..loop import Threads
from ..metrics import Metrics

T = TypeVar("T")

_CALL_SECONDS = 0.05
_PROBE_SECONDS = 0.5
_KEPT_SECONDS = 3600
_THREADS = Threads("redis", 8)


def redis_arguments(url: str) -> dict[str, Any]:
    """What dogpile's Redis backend needs: no call may take longer than 50 ms, none is repeated."""
    return {
        "url": url,
        "socket_timeout": _CALL_SECONDS,
        "socket_connect_timeout": _CALL_SECONDS,
        "redis_expiration_time": _KEPT_SECONDS,
        "connection_kwargs": {"retry": Retry(NoBackoff(), 0)},
    }


class RedisBreaker(ProxyBackend):
    """A circuit breaker: after one failed call Redis is not asked until a probe has succeeded.

    The probe runs in a thread of its own, so that no request waits for a Redis that is not there:
    not for its name to resolve, nor for a connection. It begins open, for the same reason.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._closing = Event()
        self._broken = Event()
        self._broken.set()

    def wrap(self, backend: Any) -> "RedisBreaker":
        """dogpile calls this with the backend to stand before."""
        super().wrap(backend)
        Thread(target=self._probe, name="redis-probe", daemon=True).start()
        return self

    def get_serialized(self, key: str) -> Any:
        """What Redis has under `key`; nothing where it does not say within its time."""
        return NO_VALUE if self._broken.is_set() else _THREADS.run(self._get, key)

    def _get(self, key: str) -> Any:
        started = monotonic()
        try:
            value = self.proxied.get_serialized(key)
        except (RedisError, OSError) as error:
            self._failed(error)
            return NO_VALUE
        # The time-outs are those of each part of an answer: one that drips in keeps all of them.
        if monotonic() - started > _CALL_SECONDS:
            self._failed(redis_errors.TimeoutError())
        return value

    def set_serialized(self, key: str, value: Any) -> None:
        """Has Redis keep `value`, if it is there."""
        if not self._broken.is_set():
            _THREADS.run(self._set, key, value)

    def _set(self, key: str, value: Any) -> None:
        try:
            self.proxied.set_serialized(key, value)
        except (RedisError, OSError) as error:
            self._failed(error)

    def ask(self, work: Callable[[Any], T]) -> T | None:
        """What `work` gives, called with a client of Redis; None where that does not answer."""
        return None if self._broken.is_set() else _THREADS.run(self._ask, work)

    def _ask(self, work: Callable[[Any], T]) -> T | None:
        client: Any = getattr(self.proxied, "writer_client")  # noqa: B009
        try:
            return work(client)
        except (RedisError, OSError) as error:
            self._failed(error)
            return None

    def is_up(self) -> bool:
        """Whether Redis answers now."""
        return not self._broken.is_set() and _THREADS.run(self._answers)

    def close(self) -> None:
        """Ends the probing."""
        self._closing.set()
        self._broken.set()

    def _failed(self, error: Exception) -> None:
        self._metrics.cache_failures.inc()
        # A Redis that is full still answers what it has.
        if isinstance(error, redis_errors.ConnectionError | redis_errors.TimeoutError | OSError):
            self._broken.set()

    def _answers(self) -> bool:
        try:
            client: Any = getattr(self.proxied, "reader_client")  # noqa: B009
            client.ping()
        except (RedisError, OSError) as error:
            self._failed(error)
            return False
        return True

    def _probe(self) -> None:
        while not self._closing.is_set():
            if self._broken.is_set() and self._answers():
                self._broken.clear()
            self._closing.wait(_PROBE_SECONDS)
