"""Authentication: its cost for the database, and limits on failed sign-ins."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy as sa

from customer_certificates.errors import NotFound, TooManyRequests, Unauthenticated, Unavailable
from customer_certificates.gateways.admission.limiter import TENANT
from customer_certificates.gateways.cache.counters import Counters
from customer_certificates.gateways.cache.page_cache import PageCache
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.services.access.authentication import Authentication
from customer_certificates.services.access.login_throttle import LoginThrottle
from customer_certificates.services.access.token_usage import TokenUsage
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.certificates.listing import CertificateFilter, Listing
from customer_certificates.services.etags import Tags
from customer_certificates.services.events.log import Events
from customer_certificates.services.principal import Principal
from customer_certificates.services.revisions import Revisions
from customer_certificates.services.users import password_hashing
from customer_certificates.services.users.address_verification import AddressVerification
from customer_certificates.services.users.password_hashing import Passwords
from customer_certificates.services.users.users import NewUser, Users

from ...credentials import Made, make_token
from ...factories import CHEAPEST_HASHES
from ...ownership import hostnames_on
from ...servers import start_valkey
from ...tables import NOW, PRINCIPAL, add_certificates, add_users
from ..conftest import Counter
from ..users.test_password_hashing import WAIT_SECONDS, SlowPassword

ALL = CertificateFilter(None, None, None, None, None, None, after=0, limit=100)
_PLACES = 16
MINUTE = timedelta(minutes=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Door:
    """Authentication, and the reads that follow it."""

    def __init__(self, database: Database, stack: ExitStack) -> None:
        self.clock = Clock()
        self.passwords = Passwords(CHEAPEST_HASHES, Metrics(None), waiting=_PLACES)
        stack.callback(self.passwords.close)
        audit, events = Audit(database, self.clock), Events(database, self.clock)
        verification = AddressVerification(database, self.clock, by_mail=False)
        hostnames = hostnames_on(database, self.clock)
        self.users = Users(
            database, self.passwords, hostnames, audit, events, verification, self.clock
        )
        uses = TokenUsage(database)
        stack.callback(uses.close)
        attempts = LoginThrottle(Counters(None), self.clock)
        self._authentication = Authentication(
            database, self.users, attempts, uses, audit, self.clock
        )
        revisions = Revisions(database, self.clock)
        self.listing = Listing(database, PageCache(None, Metrics(None)), revisions)

    @contextmanager
    def without_room(self) -> Iterator[None]:
        """Leaves no room for requests that wait for a hash."""
        full = Passwords(CHEAPEST_HASHES, Metrics(None), waiting=0)
        with patch.object(self.users, "_passwords", full):
            yield
        full.close()

    def caller(self, token: Made, about: int | None) -> Principal:
        return self._authentication.token(token.text, about, "request", "peer")

    def sign_in(self, email: str, password: str, peer: str = "192.0.2.1") -> int | None:
        return self._authentication.password(email, password, "request", peer).user_id


@pytest.fixture
def door(database: Database) -> Iterator[Door]:
    with ExitStack() as stack:
        yield Door(database, stack)


@pytest.mark.parametrize("kind", ["user", "operator"])
def test_a_warm_read_is_one_statement_with_its_token(
    door: Door, engine: sa.Engine, statements: Counter, kind: str
) -> None:
    (owner,) = add_users(engine, 1)
    add_certificates(engine, owner, 5)
    token = (
        make_token(engine, "user", owner, now=NOW, last_used_at=NOW)
        if kind == "user"
        else make_token(engine, "operator", now=NOW, last_used_at=NOW)
    )

    def read() -> str:
        caller = door.caller(token, owner)
        return door.listing.page(caller, owner, ALL, Tags())[0]

    tag = read()
    assert len(statements(read)) == 1
    assert (
        len(statements(lambda: door.users.get(owner, door.caller(token, owner).target_user))) == 1
    )
    change_list(engine, owner)
    assert read() != tag


def test_a_list_with_an_outdated_status_is_updated(door: Door, engine: sa.Engine) -> None:
    """The row that came with the token is outdated."""
    (owner,) = add_users(engine, 1, statuses_change_at=NOW + MINUTE)
    token = make_token(engine, "user", owner, now=NOW)
    before = door.listing.page(door.caller(token, owner), owner, ALL, Tags())[0]
    door.clock.now += MINUTE

    caller = door.caller(token, owner)
    assert door.listing.page(caller, owner, ALL, Tags())[0] != before


def test_a_token_reads_no_row_of_another_user(door: Door, engine: sa.Engine) -> None:
    owner, stranger = add_users(engine, 2)
    own, operator = (
        make_token(engine, "user", owner, now=NOW),
        make_token(engine, "operator", now=NOW),
    )

    def about(token: Made, user_id: int | None) -> int | None:
        known = door.caller(token, user_id).target_user
        return known.id if known else None

    assert [about(own, user_id) for user_id in (owner, stranger, None, 2**62)] == [
        owner,
        None,
        None,
        None,
    ]
    assert [about(operator, user_id) for user_id in (owner, stranger, None, 2**62)] == [
        owner,
        stranger,
        None,
        None,
    ]
    with pytest.raises(NotFound):
        door.users.get(2**62, door.caller(operator, 2**62).target_user)


@pytest.mark.one_backend
def test_known_and_unknown_addresses_cost_the_same(door: Door, statements: Counter) -> None:
    """Both run the same number of statements, and hash one password."""
    door.users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    hashed: list[object] = []
    hashing: Callable[[Callable[[], Any]], Any] = door.passwords._run

    def cost(email: str) -> tuple[list[str], int]:
        before = len(hashed)
        asked = statements(lambda: fail(door, email, "192.0.2.1"))
        return asked, len(hashed) - before

    def told(work: Callable[[], Any]) -> Any:
        hashed.append(work)
        return hashing(work)

    with patch.object(door.passwords, "_run", told):
        cost("ada@example.com")
        known, unknown = cost("ada@example.com"), cost("nobody@example.com")
    assert known == unknown
    assert (len(known[0]) > 0, known[1]) == (True, 1)


@pytest.mark.one_backend
def test_a_throttled_account_can_sign_in_after_15_minutes(door: Door) -> None:
    user_id = door.users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    for number in range(5):
        fail(door, "Ada@example.com", f"192.0.2.{number}")
    with pytest.raises(TooManyRequests) as caught:
        door.sign_in("ada@example.com", "x", "192.0.2.9")
    assert caught.value.retry_after == 901

    door.clock.now += 14 * MINUTE
    with pytest.raises(TooManyRequests):
        door.sign_in("ada@example.com", "x", "192.0.2.9")
    door.clock.now += MINUTE
    assert door.sign_in("ada@example.com", "x", "192.0.2.9") == user_id


def test_concurrent_sign_ins_are_limited_like_consecutive_ones(door: Door) -> None:
    door.users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))

    def guess(number: int) -> bool:
        try:
            door.sign_in("ada@example.com", f"guess {number}", f"192.0.2.{number}")
        except TooManyRequests:
            return False
        except Unauthenticated:
            return True
        raise AssertionError("a guess was right")

    with ThreadPoolExecutor(_PLACES) as pool:
        assert sum(pool.map(guess, range(_PLACES))) == 5


@pytest.mark.one_backend
def test_a_sign_in_without_room_for_its_hash_is_not_counted(door: Door) -> None:
    """No room for another hash says nothing about this password."""
    user_id = door.users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    with door.without_room():
        for _ in range(20):
            with pytest.raises(Unavailable):
                door.sign_in("ada@example.com", "x")

    assert door.sign_in("ada@example.com", "x") == user_id


def test_a_sign_in_that_was_rejected_as_busy_is_not_counted(door: Door) -> None:
    user_id = door.users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    slow, network = SlowPassword(), copy_context()
    network.run(TENANT.set, "192.0.2.1")
    with patch.object(password_hashing, "_WAITING_OF_ONE", 0):
        busy = Passwords(CHEAPEST_HASHES, Metrics(None), waiting=_PLACES)
    with ThreadPoolExecutor(1) as threads, patch.object(door.users, "_passwords", busy):
        hashing = threads.submit(network.copy().run, busy.hash, slow)
        assert slow.begun.wait(WAIT_SECONDS)
        for _ in range(20):
            with pytest.raises(TooManyRequests, match="Too many of your requests are waiting"):
                network.run(door.sign_in, "ada@example.com", "x")
        slow.release.set()
        hashing.result()
    busy.close()

    assert door.sign_in("ada@example.com", "x") == user_id


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_ipv6_addresses_of_a_network_share_a_limit(
    door: Door, one: str, other: str, same: bool
) -> None:
    door.users.register(PRINCIPAL, NewUser("Ada", "ada@example.com", "x"))
    for number in range(5):
        fail(door, f"nobody{number}@example.com", one)

    if same:
        with pytest.raises(TooManyRequests):
            door.sign_in("ada@example.com", "x", other)
    else:
        assert door.sign_in("ada@example.com", "x", other)


def test_processes_count_together_in_redis_and_alone_without(tmp_path: Path) -> None:
    """With Redis ten failures in all are allowed; without it, five in each process."""
    valkey = start_valkey(tmp_path)
    pages = [PageCache(valkey.url, Metrics(None)) for _ in range(2)]
    try:
        wait_for_redis(pages)
        processes = [LoginThrottle(Counters(one.redis), lambda: NOW) for one in pages]
        for number in range(10):
            processes[number % 2].begin("ada@example.com", "192.0.2.1")
        for process in processes:
            with pytest.raises(TooManyRequests) as caught:
                process.begin("ada@example.com", "192.0.2.1")
            assert caught.value.retry_after in range(1, 901)
        taken_back = processes[0].begin("grace@example.com", "192.0.2.2")
        processes[0].undo(taken_back)
        for _ in range(10):
            processes[1].begin("grace@example.com", "192.0.2.2")
    finally:
        valkey.stop()
    for process in processes:
        for _ in range(5):
            process.begin("ada@example.com", "192.0.2.1")
        with pytest.raises(TooManyRequests):
            process.begin("ada@example.com", "192.0.2.1")
    for one in pages:
        one.close()


def fail(door: Door, email: str, peer: str) -> None:
    with pytest.raises(Unauthenticated):
        door.sign_in(email, "wrong", peer)


def change_list(engine: sa.Engine, owner: int) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE users SET certificates_revision = :new WHERE id = :id"),
            {"new": b"x" * 16, "id": owner},
        )


def wait_for_redis(pages: list[PageCache]) -> None:
    deadline = time.monotonic() + 30
    while not all(one.is_up() for one in pages):
        assert time.monotonic() < deadline, "Redis never answers"
        time.sleep(0.01)
