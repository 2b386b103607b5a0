"""A circuit breaker for a Redis that is down or hangs."""

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
_EXPIRY_SECONDS = 3600
_THREADS = Threads("redis", 8)


def redis_arguments(url: str) -> dict[str, Any]:
    """Returns settings of dogpile's Redis backend: 50 ms for each call, and no retries."""
    return {
        "url": url,
        "socket_timeout": _CALL_SECONDS,
        "socket_connect_timeout": _CALL_SECONDS,
        "redis_expiration_time": _EXPIRY_SECONDS,
        "connection_kwargs": {"retry": Retry(NoBackoff(), 0)},
    }


class RedisBreaker(ProxyBackend):
    """A circuit breaker: after a failed call, Redis is skipped until a probe succeeds.

    The probe runs in a separate thread, so no request waits for an unreachable Redis: neither for
    DNS nor for a connection. The breaker starts open, for the same reason.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._closing = Event()
        self._broken = Event()
        self._broken.set()

    def wrap(self, backend: Any) -> "RedisBreaker":
        """Protects `backend`, and starts the probe. dogpile calls this."""
        super().wrap(backend)
        Thread(target=self._probe, name="redis-probe", daemon=True).start()
        return self

    def get_serialized(self, key: str) -> Any:
        """Returns the value under `key`; NO_VALUE if Redis does not respond in time."""
        return NO_VALUE if self._broken.is_set() else _THREADS.run(self._get, key)

    def _get(self, key: str) -> Any:
        started = monotonic()
        try:
            value = self.proxied.get_serialized(key)
        except (RedisError, OSError) as error:
            self._failed(error)
            return NO_VALUE
        # The timeouts apply to each part of a response, so a slow trickle never exceeds them.
        if monotonic() - started > _CALL_SECONDS:
            self._failed(redis_errors.TimeoutError())
        return value

    def set_serialized(self, key: str, value: Any) -> None:
        """Stores `value`, if Redis is available."""
        if not self._broken.is_set():
            _THREADS.run(self._set, key, value)

    def _set(self, key: str, value: Any) -> None:
        try:
            self.proxied.set_serialized(key, value)
        except (RedisError, OSError) as error:
            self._failed(error)

    def ask(self, work: Callable[[Any], T]) -> T | None:
        """Returns the result of `work(client)`; None if Redis does not respond."""
        return None if self._broken.is_set() else _THREADS.run(self._ask, work)

    def _ask(self, work: Callable[[Any], T]) -> T | None:
        client: Any = getattr(self.proxied, "writer_client")  # noqa: B009
        try:
            return work(client)
        except (RedisError, OSError) as error:
            self._failed(error)
            return None

    def is_up(self) -> bool:
        """Whether Redis responds now."""
        return not self._broken.is_set() and _THREADS.run(self._responds)

    def close(self) -> None:
        """Stops the probe."""
        self._closing.set()
        self._broken.set()

    def _failed(self, error: Exception) -> None:
        self._metrics.cache_failures.inc()
        # A full Redis still serves reads.
        if isinstance(error, redis_errors.ConnectionError | redis_errors.TimeoutError | OSError):
            self._broken.set()

    def _responds(self) -> bool:
        try:
            client: Any = getattr(self.proxied, "reader_client")  # noqa: B009
            client.ping()
        except (RedisError, OSError) as error:
            self._failed(error)
            return False
        return True

    def _probe(self) -> None:
        while not self._closing.is_set():
            if self._broken.is_set() and self._responds():
                self._broken.clear()
            self._closing.wait(_PROBE_SECONDS)
