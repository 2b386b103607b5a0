"""The feed that an agent follows."""

from collections.abc import Iterator

import pytest

from .feed_stub import FeedStub, a_feed


@pytest.fixture
def feed() -> Iterator[FeedStub]:
    with a_feed() as feed:
        yield feed
