"""A cache of list pages, under names that contain the list's revision.

Nothing is ever invalidated: a page depends only on its name, and old names are evicted. So a cold,
flushed or unreachable cache costs only time.
"""

from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest
from threading import Lock
from typing import NamedTuple

from cachetools import LRUCache
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE, CantDeserializeException, NoValueType

from ...errors import Unavailable
from ..metrics import Metrics
from .circuit_breaker import RedisBreaker, redis_arguments

_PROCESS_BYTES = 16 * 2**20
_MAX_PAGE_BYTES = 2 * 2**20
_ENTRY_OVERHEAD_BYTES = 500


class Page(NamedTuple):
    """One page of a list: its name in the cache, and the response in JSON.

    `next_after` is the parameter `after` of the next page; None on the last page.
    """

    name: str
    next_after: int | None
    body: bytes


class PageCache:
    """Looks in this process first, then in Redis, where a MAC protects each page."""

    def __init__(
        self, url: str | None, metrics: Metrics, key: Callable[[], bytes | None] = lambda: None
    ) -> None:
        """Creates a cache in the Redis at `url`. None: only this process caches.

        `key` returns the key of the MACs, and may raise Unavailable. Without a key, Redis is not
        used for pages.
        """
        self._metrics = metrics
        self._find_key = key
        self._key: bytes | None = None
        self._lock = Lock()
        self._process: LRUCache[str, Page] = LRUCache(
            _PROCESS_BYTES, getsizeof=lambda page: len(page.body) + _ENTRY_OVERHEAD_BYTES
        )
        self._breaker = RedisBreaker(metrics) if url else None
        self._redis = make_region(serializer=self._pack, deserializer=self._unpack)
        if self._breaker and url:
            self._redis.configure(
                "dogpile.cache.redis", arguments=redis_arguments(url), wrap=[self._breaker]
            )

    def get(self, name: str) -> Page | None:
        """Returns the page under `name`, from either tier."""
        with self._lock:
            page = self._process.get(name)
        if page:
            self._metrics.process_hits.inc()
            return page
        if self._breaker and self._has_key():
            page = self._from_redis(name)
            if page:
                self._metrics.redis_hits.inc()
                self._store(page)
                return page
        self._metrics.misses.inc()
        return None

    def put(self, page: Page) -> None:
        """Stores `page`, unless it is so large that it would evict many others."""
        if len(page.body) > _MAX_PAGE_BYTES:
            return
        self._store(page)
        if self._breaker and self._has_key():
            self._redis.set(page.name, page)

    @property
    def redis(self) -> RedisBreaker | None:
        """The circuit breaker of Redis, for other uses of Redis."""
        return self._breaker

    def is_up(self) -> bool:
        """Whether Redis responds; True if none is configured."""
        return self._breaker is None or self._breaker.is_up()

    def close(self) -> None:
        """Stops the probe of Redis."""
        if self._breaker:
            self._breaker.close()

    def _store(self, page: Page) -> None:
        with self._lock:
            self._process[page.name] = page

    def _from_redis(self, name: str) -> Page | None:
        try:
            page: Page | NoValueType = self._redis.get(name)
        except (ValueError, LookupError, TypeError, RecursionError):
            self._metrics.cache_forgeries.inc()
            return None
        if page is NO_VALUE:
            return None
        if page.name != name:
            self._metrics.cache_forgeries.inc()
            return None
        return page

    def _has_key(self) -> bool:
        """Whether pages can be authenticated. Reads the key from the database, once."""
        if self._key is None:
            try:
                self._key = self._find_key()
            except Unavailable:
                return False
        return self._key is not None

    def _pack(self, page: Page) -> bytes:
        content = b"%b\n%d\n%b" % (page.name.encode(), page.next_after or 0, page.body)
        return b"%b\n%b" % (self._mac(content), content)

    def _unpack(self, data: bytes) -> Page:
        try:
            mac, _, content = data.partition(b"\n")
            # Authenticated before anything of the content is parsed.
            if not compare_digest(mac, self._mac(content)):
                raise ValueError("this service did not write it")
            name, next_after, body = content.split(b"\n", 2)
            return Page(name.decode(), int(next_after) or None, body)
        except ValueError as error:
            self._metrics.cache_forgeries.inc()
            raise CantDeserializeException from error

    def _mac(self, content: bytes) -> bytes:
        return blake2b(content, key=self._key or b"", digest_size=32).hexdigest().encode()
