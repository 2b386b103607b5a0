"""The page cache: its two tiers, their limits, and values that others wrote to Redis."""

import json
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from customer_certificates.app import create_app
from customer_certificates.gateways.cache.page_cache import Page, PageCache
from customer_certificates.gateways.metrics import Metrics

from ...conftest import Backend
from ...factories import an_upload
from ...servers import Server, start_valkey

_UP_SECONDS = 30
_KEY = bytes(range(32))
_PAGE = Page("cc:certificates:1:1-00ff:None:0:100", 7, b'[{"id":7}]')
_OTHER = Page("cc:certificates:2:1-00ff:None:0:100", None, b'[{"id":9}]')


@pytest.fixture(scope="module")
def valkey(folder: Path) -> Iterator[Server]:
    server = start_valkey(folder / "valkey-of-test-cache")
    yield server
    server.stop()


@pytest.fixture
def redis(valkey: Server) -> Iterator[Any]:
    """Redis as it is, behind the cache's back; every test finds it empty."""
    with Redis.from_url(valkey.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def pages(valkey: Server, redis: Any) -> Iterator[PageCache]:
    """The cache of one process."""
    yield from _connected(valkey.url)


@pytest.fixture
def other_pages(valkey: Server, redis: Any) -> Iterator[PageCache]:
    """The cache of another process, on the same Redis."""
    yield from _connected(valkey.url)


def _connected(url: str, key: bytes | None = _KEY) -> Iterator[PageCache]:
    pages = PageCache(url, Metrics(None), lambda: key)
    _wait_until(pages.is_up)
    yield pages
    pages.close()


def _wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + _UP_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("page", [_PAGE, _OTHER, Page("a", None, b""), Page("é", 1, b"\n|\n\xff")])
def test_another_process_gets_the_same_page(
    pages: PageCache, other_pages: PageCache, page: Page
) -> None:
    pages.put(page)

    assert pages.get(page.name) == page
    assert other_pages.get(page.name) == page


def test_an_unknown_name_is_a_miss(pages: PageCache, other_pages: PageCache) -> None:
    pages.put(_PAGE)

    assert other_pages.get(_OTHER.name) is None


def test_a_page_from_redis_is_cached_in_the_process(
    pages: PageCache, other_pages: PageCache, redis: Any
) -> None:
    pages.put(_PAGE)
    assert other_pages.get(_PAGE.name) == _PAGE
    redis.flushall()

    assert other_pages.get(_PAGE.name) == _PAGE


def test_a_page_expires_in_redis_after_an_hour(pages: PageCache, redis: Any) -> None:
    pages.put(_PAGE)
    pages.put(_OTHER)

    assert all(0 < redis.ttl(key) <= 3600 for key in redis.scan_iter())
    assert redis.dbsize() == 2


def test_redis_gets_text_and_no_pickle(pages: PageCache, redis: Any) -> None:
    pages.put(_PAGE)

    metadata, _, payload = redis.get(_PAGE.name).decode().partition("|")
    mac, _, content = payload.partition("\n")
    assert json.loads(metadata).keys() == {"ct", "v"}
    assert mac == blake2b(content.encode(), key=_KEY, digest_size=32).hexdigest()
    assert content == f'{_PAGE.name}\n7\n[{{"id":7}}]'


def test_a_page_of_more_than_two_megabytes_is_not_cached(pages: PageCache, redis: Any) -> None:
    large = Page("cc:large", None, bytes(2 * 2**20 + 1))
    pages.put(large)

    assert pages.get(large.name) is None
    assert redis.dbsize() == 0


def test_the_process_evicts_old_pages_to_limit_its_memory() -> None:
    pages = PageCache(None, Metrics(None))
    megabyte = bytes(2**20)
    for number in range(100):
        pages.put(Page(f"cc:{number}", None, megabyte))

    kept = [number for number in range(100) if pages.get(f"cc:{number}")]
    assert 8 <= len(kept) <= 16
    assert kept == list(range(100 - len(kept), 100))


def test_the_process_counts_the_overhead_of_small_pages() -> None:
    pages = PageCache(None, Metrics(None))
    for number in range(100_000):
        pages.put(Page(f"cc:{number}", None, b"[]"))

    assert sum(pages.get(f"cc:{number}") is not None for number in range(100_000)) < 40_000


def _stored(redis: Any, pages: PageCache, page: Page) -> bytes:
    pages.put(page)
    value: bytes = redis.get(page.name)
    return value


def test_a_truncated_value_is_rejected(pages: PageCache, redis: Any) -> None:
    value = _stored(redis, pages, _PAGE)

    for length in range(len(value)):
        redis.set(_PAGE.name, value[:length])
        assert _get_in_a_new_process(pages) is None, value[:length]


def test_a_value_with_trailing_bytes_is_rejected(pages: PageCache, redis: Any) -> None:
    redis.set(_PAGE.name, _stored(redis, pages, _PAGE) + b"]")

    assert _get_in_a_new_process(pages) is None


def test_the_value_of_another_page_is_rejected(pages: PageCache, redis: Any) -> None:
    redis.set(_PAGE.name, _stored(redis, pages, _OTHER))

    assert _get_in_a_new_process(pages) is None


@pytest.mark.parametrize("size", [16, 32])
def test_a_page_with_a_digest_without_a_key_is_rejected_and_counted(
    pages: PageCache, redis: Any, size: int
) -> None:
    metadata, _, payload = _stored(redis, pages, _PAGE).partition(b"|")
    content = payload.partition(b"\n")[2].replace(b'"id":7', b'"id":8')
    digest = blake2b(content, digest_size=size).hexdigest().encode()
    redis.set(_PAGE.name, metadata + b"|" + digest + b"\n" + content)

    assert _get_in_a_new_process(pages) is None
    assert pages._metrics.cache_forgeries._value.get() == 1


def test_a_page_that_was_moved_under_another_name_is_rejected_and_counted(
    pages: PageCache, redis: Any
) -> None:
    value = _stored(redis, pages, _OTHER)
    for moved in (value, value.replace(_OTHER.name.encode(), _PAGE.name.encode())):
        redis.set(_PAGE.name, moved)
        assert _get_in_a_new_process(pages) is None
    assert pages._metrics.cache_forgeries._value.get() == 2


def test_a_page_of_another_database_is_rejected(
    pages: PageCache, redis: Any, valkey: Server
) -> None:
    pages.put(_PAGE)
    for others in _connected(valkey.url, bytes(32)):
        assert others.get(_PAGE.name) is None


def test_without_a_key_redis_is_not_used_for_pages(
    pages: PageCache, redis: Any, valkey: Server
) -> None:
    pages.put(_PAGE)
    for others in _connected(valkey.url, None):
        assert others.get(_PAGE.name) is None
        others.put(_OTHER)
        assert others.get(_OTHER.name) == _OTHER
    assert redis.dbsize() == 1


@pytest.mark.one_backend
def test_a_list_forged_in_redis_is_read_from_the_database(
    backend: Backend, client: TestClient, owner: int, valkey: Server, redis: Any
) -> None:
    """Another process of the service accepts what the first one wrote, and nothing else."""
    path = f"/users/{owner}/certificates"
    shown = client.simulate_post(path, json=an_upload()).json["id"]
    queries = ("limit=1", "limit=2")
    with _process(backend, valkey) as first:
        answers = [first.simulate_get(path, query_string=query).content for query in queries]
    (name,) = (key for key in redis.keys("cc:certificates:*") if key.endswith(b" 2, ())"))
    metadata, _, payload = redis.get(name).partition(b"|")
    content = payload.partition(b"\n")[2].replace(b'"id":%d' % shown, b'"id":1')
    digest = blake2b(content, digest_size=32).hexdigest().encode()
    redis.set(name, metadata + b"|" + digest + b"\n" + content)

    with _process(backend, valkey) as other:
        assert [other.simulate_get(path, query_string=query).content for query in queries] == (
            answers
        )
        counted = other.simulate_get("/metrics").text
    assert 'customer_certificates_cache_pages_total{tier="redis"} 1.0' in counted
    assert 'customer_certificates_cache_pages_total{tier="database"} 1.0' in counted
    assert "customer_certificates_cache_forgeries_total 1.0" in counted


@contextmanager
def _process(backend: Backend, valkey: Server) -> Iterator[TestClient]:
    """A client of an application with a cache of its own, which has found its Redis."""
    with closing(create_app(backend.config(CC_CACHE_URL=valkey.url))) as app:
        client = TestClient(app, headers={"Host": "localhost:9000"})
        _wait_until(lambda: client.simulate_get("/healthcheck").json["cache"])
        yield client


def test_a_redis_key_of_another_type_is_rejected(pages: PageCache, redis: Any) -> None:
    redis.rpush(_PAGE.name, "one", "two")

    assert _get_in_a_new_process(pages) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=200)
    | st.builds(
        lambda metadata, payload: metadata + b"|" + payload,
        st.sampled_from([b'{"ct":1.0,"v":1}', b'{"ct":1.0,"v":2}', b"{}", b"[]", b"1", b"null"]),
        st.binary(max_size=100),
    )
)
@example(pickle.dumps(tuple(_PAGE)))
@example(b'{"ct":1.0,"v":1}|' + pickle.dumps(tuple(_PAGE)))
@example(b'{"ct":1.0,"v":1}|\xff\xfe\n0\n2\n[]')
@example(b'{"ct":1.0,"v":1}|' + _PAGE.name.encode() + b"\nmany\n2\n[]")
@example(b'{"ct":1.0,"v":1}|' + _PAGE.name.encode() + b"\n0\n" + b"9" * 5000 + b"\n[]")
@example(b'{"ct":null,"v":1}|' + _PAGE.name.encode())
@example(b"[" * 100_000 + b"|")
@example(b"9" * 5000 + b"|")
def test_garbage_is_rejected(pages: PageCache, redis: Any, garbage: bytes) -> None:
    redis.set(_PAGE.name, garbage)

    assert _get_in_a_new_process(pages) is None


def _get_in_a_new_process(pages: PageCache) -> Page | None:
    """The page in Redis, read without the cache of this process. Redis must have been asked."""
    pages._process.pop(_PAGE.name, None)
    pages.is_up()
    return pages.get(_PAGE.name)
