"""Time is a change like any other: a list is new when a certificate begins or ceases to be valid.

Servers have clocks of their own, and no list may go back because one of them is behind.
"""

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import sqlalchemy as sa

from customer_certificates.gateways.cache.page_cache import PageCache
from customer_certificates.gateways.database import EVERYBODY, Database
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.models import Certificate
from customer_certificates.services.certificates.listing import CertificateFilter, Listing
from customer_certificates.services.certificates.views import status_of
from customer_certificates.services.etags import Tags
from customer_certificates.services.revisions import DATES, Revisions

from ..conftest import Backend
from ..tables import NOW, PRINCIPAL, add_certificates, add_users, dump

pytestmark = pytest.mark.one_backend

ALL = CertificateFilter(None, None, None, None, None, None, after=0, limit=1000)
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
END_OF_TIME = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class Server:
    """One of several: it has its own clock and its own cache, and they share the database."""

    def __init__(self, database: Database) -> None:
        self.now = NOW
        self._database = database
        self._revisions = Revisions(database, lambda: self.now)
        self._listing = Listing(database, PageCache(None, Metrics(None)), self._revisions)

    def add(self, user_id: int, begin: datetime | None, end: datetime | None) -> None:
        """Stores an active certificate with these dates."""
        revise, values = self._revisions.added(
            user_id, dict(zip(DATES, (begin, end, begin, end), strict=True))
        )
        row = {"body": "PEM", "created_at": self.now, "active": True}
        with self._database.begin(EVERYBODY) as session:
            session.run(revise, **values)
            session.execute(
                sa.insert(Certificate).values(
                    **row, user_id=user_id, not_before=begin, not_after=end
                )
            )

    def read(self, user_id: int) -> tuple[str, list[str]]:
        """The tag of the list, and the statuses on it."""
        tag, page = self._listing.page(PRINCIPAL, user_id, ALL, Tags())
        assert page
        return tag, [one["status"] for one in json.loads(page.body)]

    def statuses(self, user_id: int) -> list[str]:
        return self.read(user_id)[1]

    def has_changed(self, user_id: int, tag: str) -> bool:
        """Whether whoever has the list of `tag` is sent another one."""
        return self._listing.page(PRINCIPAL, user_id, ALL, Tags([tag]))[1] is not None


@pytest.fixture
def servers(backend: Backend, engine: sa.Engine) -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack:
        both = []
        for _ in range(2):
            database = Database(backend.database_url, Metrics(None), threads=4)
            stack.callback(database.close)
            both.append(Server(database))
        yield both[0], both[1]


@pytest.fixture
def server(servers: tuple[Server, Server]) -> Server:
    return servers[0]


@pytest.fixture
def owner(engine: sa.Engine) -> int:
    return add_users(engine, 1)[0]


def test_a_list_is_new_exactly_when_a_certificate_begins_and_when_it_has_ended(
    server: Server, owner: int
) -> None:
    begin, end = NOW + DAY, NOW + 2 * DAY
    server.add(owner, begin, end)
    seen = []
    for server.now in (NOW, begin - INSTANT, begin, end, end + INSTANT, end + 99 * DAY):
        seen.append(server.read(owner))

    tags, statuses = zip(*seen, strict=True)
    assert list(statuses) == [
        ["not_yet_valid"],
        ["not_yet_valid"],
        ["active"],
        ["active"],
        ["expired"],
        ["expired"],
    ]
    assert [tags.index(tag) for tag in tags] == [0, 0, 2, 2, 4, 4]


def test_whoever_has_a_list_is_sent_another_only_when_time_has_changed_it(
    server: Server, owner: int
) -> None:
    server.add(owner, NOW - DAY, NOW + DAY)
    tag, _ = server.read(owner)
    server.now = NOW + DAY
    assert not server.has_changed(owner, tag)

    server.now += INSTANT
    assert server.has_changed(owner, tag)
    tag, statuses = server.read(owner)
    assert statuses == ["expired"]
    assert not server.has_changed(owner, tag)


@pytest.mark.parametrize(
    ("begin", "end"),
    [(None, None), (NOW - 2 * DAY, NOW - DAY), (NOW - 2 * DAY, END_OF_TIME), (NOW - 2 * DAY, None)],
)
def test_time_by_itself_changes_nothing(
    server: Server, owner: int, begin: datetime | None, end: datetime | None
) -> None:
    server.add(owner, begin, end)
    first = server.read(owner)

    server.now += 1000 * DAY
    assert server.read(owner) == first


def test_one_change_after_the_other_is_noticed(server: Server, owner: int) -> None:
    """In whatever order they were stored, and where several have passed unseen."""
    for days in (3, 1, 5, 2, 4):
        server.add(owner, NOW - DAY, NOW + days * DAY)
    for passed, expired in enumerate([[], [1], [1, 3], [0, 1, 3], [0, 1, 3, 4], [0, 1, 2, 3, 4]]):
        server.now = NOW + passed * DAY + INSTANT
        statuses = server.statuses(owner)
        assert [place for place, one in enumerate(statuses) if one == "expired"] == expired

    server.add(owner, NOW, NOW + 7 * DAY)
    server.add(owner, NOW, NOW + 6 * DAY)
    server.now = NOW + 8 * DAY
    server.add(owner, NOW, NOW + 9 * DAY)
    assert server.statuses(owner) == ["expired"] * 7 + ["active"]
    server.now = NOW + 10 * DAY
    assert server.statuses(owner) == ["expired"] * 8


def test_a_clock_that_is_behind_brings_no_list_back(
    servers: tuple[Server, Server], owner: int
) -> None:
    ahead, behind = servers
    behind.add(owner, NOW - DAY, NOW + DAY)
    behind.add(owner, NOW + DAY, NOW + 9 * DAY)
    assert behind.statuses(owner) == ["active", "not_yet_valid"]
    ahead.now = NOW + 2 * DAY
    seen = ahead.read(owner)
    assert seen[1] == ["expired", "active"]

    assert behind.read(owner) == seen
    # Nor do its own writes; and what it stores is shown as of the time that was shown already.
    behind.add(owner, NOW - DAY, NOW + DAY)
    behind.add(owner, NOW + 3 * DAY, NOW + 4 * DAY)
    expected = ["expired", "active", "expired", "not_yet_valid"]
    assert behind.statuses(owner) == ahead.statuses(owner) == expected
    behind.now = NOW + 3 * DAY
    assert behind.statuses(owner) == ["expired", "active", "expired", "active"]
    assert ahead.statuses(owner) == ["expired", "active", "expired", "active"]


def test_what_a_clock_ahead_stores_ends_in_time_for_a_clock_behind(
    servers: tuple[Server, Server], owner: int
) -> None:
    """To the one it has ended already, and another that has ended is not noticed yet; so the list
    is still as the other sees it, to which it will end before that."""
    ahead, behind = servers
    behind.add(owner, NOW - DAY, NOW + 10 * DAY)
    assert behind.statuses(owner) == ["active"]
    ahead.now = NOW + 20 * DAY
    ahead.add(owner, NOW - DAY, NOW + 5 * DAY)

    assert behind.statuses(owner) == ["active", "active"]
    behind.now = NOW + 6 * DAY
    assert behind.statuses(owner) == ["active", "expired"]
    assert ahead.statuses(owner) == ["expired", "expired"]


@pytest.mark.both_backends
def test_readers_at_the_instant_of_a_change_agree(
    servers: tuple[Server, Server], engine: sa.Engine, owner: int
) -> None:
    """One of them brings the list up to date; all see that one new list."""
    for number in range(1, 4):
        servers[0].add(owner, NOW - DAY, NOW + number * DAY)
        before = servers[0].read(owner)
        for server in servers:
            server.now = NOW + number * DAY + INSTANT
        barrier = Barrier(4)

        def read(place: int, barrier: Barrier = barrier) -> tuple[str, tuple[str, ...]]:
            barrier.wait()
            tag, statuses = servers[place % 2].read(owner)
            return tag, tuple(statuses)

        with ThreadPoolExecutor(4) as threads:
            seen = set(threads.map(read, range(4)))

        assert len(seen) == 1
        ((tag, statuses),) = seen
        assert tag != before[0]
        assert set(statuses) == {"expired"}
        assert all(server.read(owner)[0] == tag for server in servers)


def test_a_user_of_the_first_version_is_looked_at_once(
    server: Server, engine: sa.Engine, count: Callable[[Callable[[], object]], int]
) -> None:
    """Its rows say that they were last looked at in 1970, as the migration has them."""
    (owner,) = add_users(engine, 1, statuses_as_of=LONG_AGO, statuses_change_at=LONG_AGO)
    add_certificates(engine, owner, 2)
    first = server.read(owner)

    assert first[1] == ["active", "active"]
    stored = dump(engine)
    assert count(lambda: server.read(owner)) == 1
    assert server.read(owner) == first
    server.now += 9 * DAY
    assert server.read(owner) == first
    assert dump(engine) == stored


@pytest.mark.both_backends
def test_a_user_of_the_first_version_can_store_before_anybody_reads(
    server: Server, engine: sa.Engine
) -> None:
    (owner,) = add_users(engine, 1, statuses_as_of=LONG_AGO, statuses_change_at=LONG_AGO)
    server.add(owner, NOW - DAY, NOW + DAY)

    assert server.statuses(owner) == ["active"]
    server.now += 2 * DAY
    assert server.statuses(owner) == ["expired"]


@pytest.mark.both_backends
def test_noticing_a_change_is_paid_for_once(
    server: Server, owner: int, count: Callable[[Callable[[], object]], int]
) -> None:
    server.add(owner, NOW - DAY, NOW + DAY)
    server.read(owner)
    assert count(lambda: server.read(owner)) == 1

    server.now += 2 * DAY
    # The state; the row under its lock, the dates, the new state; the state again and the page.
    assert count(lambda: server.read(owner)) == 6
    assert count(lambda: server.read(owner)) == 1


@pytest.mark.parametrize("seed", range(12))
def test_whatever_clocks_do_a_list_is_never_behind_its_reader_and_never_goes_back(
    servers: tuple[Server, Server], engine: sa.Engine, seed: int
) -> None:
    """Random writes and reads of two servers, whose clocks go on at different speeds: what is read
    held at an instant that is not before the reader's time nor before any that was shown."""
    chance = random.Random(seed)
    (owner,) = add_users(engine, 1)
    dates: list[tuple[datetime, datetime]] = []
    clocks = {NOW}
    shown = NOW - 365 * DAY
    for _ in range(14):
        server = chance.choice(servers)
        server.now += chance.choice([0, 1, 2, 7]) * DAY / 2
        clocks.add(server.now)
        if chance.random() < 0.4:
            begin = NOW + chance.randint(-3, 12) * DAY
            dates.append((begin, begin + chance.randint(0, 8) * DAY))
            server.add(owner, *dates[-1])
        statuses = server.statuses(owner)
        instants = sorted(clock for clock in clocks if clock >= max(shown, server.now))
        possible = [
            instant
            for instant in [*instants, shown]
            if statuses == [status_of(True, *pair, instant) for pair in dates]
            and instant >= server.now
        ]
        assert possible, (dates, server.now, shown, statuses)
        shown = max(shown, min(possible))
