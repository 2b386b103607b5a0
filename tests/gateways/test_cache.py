"""What is kept of a page, where, for how long; and what is made of what others left in Redis."""

import json
import pickle
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from customer_certificates.gateways.cache import Page, Pages
from customer_certificates.gateways.metrics import Metrics

from ..servers import Server, start_valkey

_UP_SECONDS = 30
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
def pages(valkey: Server, redis: Any) -> Iterator[Pages]:
    """The cache of one process."""
    yield from _connected(valkey.url)


@pytest.fixture
def other_pages(valkey: Server, redis: Any) -> Iterator[Pages]:
    """The cache of another process, on the same Redis."""
    yield from _connected(valkey.url)


def _connected(url: str) -> Iterator[Pages]:
    pages = Pages(url, Metrics(None))
    deadline = time.monotonic() + _UP_SECONDS
    while not pages.is_up():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield pages
    pages.close()


@pytest.mark.parametrize("page", [_PAGE, _OTHER, Page("a", None, b""), Page("é", 1, b"\n|\n\xff")])
def test_another_process_finds_the_page_as_it_was_put(
    pages: Pages, other_pages: Pages, page: Page
) -> None:
    pages.put(page)

    assert pages.get(page.name) == page
    assert other_pages.get(page.name) == page


def test_there_is_nothing_under_a_name_that_nobody_put(pages: Pages, other_pages: Pages) -> None:
    pages.put(_PAGE)

    assert other_pages.get(_OTHER.name) is None


def test_a_page_that_came_from_redis_is_kept_in_the_process(
    pages: Pages, other_pages: Pages, redis: Any
) -> None:
    pages.put(_PAGE)
    assert other_pages.get(_PAGE.name) == _PAGE
    redis.flushall()

    assert other_pages.get(_PAGE.name) == _PAGE


def test_redis_keeps_a_page_for_an_hour_at_most(pages: Pages, redis: Any) -> None:
    pages.put(_PAGE)
    pages.put(_OTHER)

    assert all(0 < redis.ttl(key) <= 3600 for key in redis.scan_iter())
    assert redis.dbsize() == 2


def test_redis_is_given_text_and_nothing_pickled(pages: Pages, redis: Any) -> None:
    pages.put(_PAGE)

    metadata, _, payload = redis.get(_PAGE.name).decode().partition("|")
    digest, _, content = payload.partition("\n")
    assert json.loads(metadata).keys() == {"ct", "v"}
    assert digest == blake2b(content.encode(), digest_size=16).hexdigest()
    assert content == f'{_PAGE.name}\n7\n[{{"id":7}}]'


def test_a_page_larger_than_two_megabytes_is_not_kept(pages: Pages, redis: Any) -> None:
    large = Page("cc:large", None, bytes(2 * 2**20 + 1))
    pages.put(large)

    assert pages.get(large.name) is None
    assert redis.dbsize() == 0


def test_the_process_keeps_the_latest_pages_within_its_bytes() -> None:
    pages = Pages(None, Metrics(None))
    megabyte = bytes(2**20)
    for number in range(100):
        pages.put(Page(f"cc:{number}", None, megabyte))

    kept = [number for number in range(100) if pages.get(f"cc:{number}")]
    assert 8 <= len(kept) <= 16
    assert kept == list(range(100 - len(kept), 100))


def test_the_process_counts_what_small_pages_cost_beyond_their_bytes() -> None:
    pages = Pages(None, Metrics(None))
    for number in range(100_000):
        pages.put(Page(f"cc:{number}", None, b"[]"))

    assert sum(pages.get(f"cc:{number}") is not None for number in range(100_000)) < 40_000


def _stored(redis: Any, pages: Pages, page: Page) -> bytes:
    pages.put(page)
    value: bytes = redis.get(page.name)
    return value


def test_a_value_that_was_cut_short_is_not_taken(pages: Pages, redis: Any) -> None:
    value = _stored(redis, pages, _PAGE)

    for length in range(len(value)):
        redis.set(_PAGE.name, value[:length])
        assert _as_a_new_process_sees_it(pages) is None, value[:length]


def test_a_value_with_something_behind_it_is_not_taken(pages: Pages, redis: Any) -> None:
    redis.set(_PAGE.name, _stored(redis, pages, _PAGE) + b"]")

    assert _as_a_new_process_sees_it(pages) is None


def test_another_pages_value_is_not_taken(pages: Pages, redis: Any) -> None:
    redis.set(_PAGE.name, _stored(redis, pages, _OTHER))

    assert _as_a_new_process_sees_it(pages) is None


def test_a_key_of_another_type_is_not_taken(pages: Pages, redis: Any) -> None:
    redis.rpush(_PAGE.name, "one", "two")

    assert _as_a_new_process_sees_it(pages) is None


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
def test_garbage_is_not_taken(pages: Pages, redis: Any, garbage: bytes) -> None:
    redis.set(_PAGE.name, garbage)

    assert _as_a_new_process_sees_it(pages) is None


def _as_a_new_process_sees_it(pages: Pages) -> Page | None:
    """What Redis has, past what this process keeps; and Redis must have been asked."""
    pages._process.delete(_PAGE.name)
    pages.is_up()
    return pages.get(_PAGE.name)
