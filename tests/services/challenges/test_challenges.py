"""Challenges on a real DNS server and real web servers: who gets a hostname, and by which record.

Each test has names of its own: all share the DNS server.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import dns.message
import pytest
import sqlalchemy as sa

from customer_certificates.errors import Conflict, NotFound, TooManyRequests
from customer_certificates.gateways.admission.limiter import TENANT
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.models import (
    AuditEntry,
    Event,
    HostnameChallenge,
    HostnameClaim,
    HostnameNotice,
    User,
)
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.challenges import limits
from customer_certificates.services.challenges.views import ChallengeView
from customer_certificates.services.events.log import Events
from customer_certificates.services.principal import Principal
from customer_certificates.services.users.address_verification import AddressVerification
from customer_certificates.services.users.password_hashing import Passwords
from customer_certificates.services.users.users import Users

from ...conftest import Backend
from ...dns_server import BROKEN_ZONE, OTHER_ZONE, THIRD_ZONE, DnsServer, unused_label
from ...factories import CHEAPEST_HASHES
from ...gateways.outbound_http.receiver import Received, Receiver
from ...gateways.resolver_stub import ResolverStub
from ...ownership import hostnames_on
from ...tables import add_users
from .parts import DOMAIN, Parts

pytestmark = pytest.mark.one_backend

HOUR = timedelta(hours=1)
ZONES = (OTHER_ZONE, THIRD_ZONE)
EDGE = "198.51.100.10"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, time: timedelta) -> None:
        self.now += time


class Shared(NamedTuple):
    """The parts that tests of one backend share, because they are slow to create."""

    database: Database
    clock: Clock
    parts: Parts


@pytest.fixture(scope="module")
def _shared(backend: Backend, dns_server: DnsServer) -> Iterator[Shared]:
    database, clock = Database(backend.database_url, Metrics(None), threads=10), Clock()
    parts = Parts(database, dns_server, clock)
    yield Shared(database, clock, parts)
    parts.close()
    database.close()


@pytest.fixture
def clock(_shared: Shared) -> Clock:
    _shared.clock.now = Clock().now
    return _shared.clock


@pytest.fixture
def parts(_shared: Shared, clock: Clock, engine: sa.Engine) -> Parts:
    return _shared.parts


Make = Callable[..., Parts]


@pytest.fixture
def make(_shared: Shared, dns_server: DnsServer, clock: Clock, engine: sa.Engine) -> Iterator[Make]:
    """Makes the parts, with changes."""
    with ExitStack() as stack:

        def made(**changes: Any) -> Parts:
            parts = Parts(_shared.database, dns_server, clock, **changes)
            stack.callback(parts.close)
            return parts

        yield made


@pytest.fixture
def users(engine: sa.Engine) -> list[int]:
    return add_users(engine, 3)


@pytest.fixture
def name() -> str:
    """A hostname that no other test uses."""
    return f"www.{unused_label()}.example"


@pytest.fixture
def delete_user(_shared: Shared, clock: Clock) -> Iterator[Callable[[int], None]]:
    """Deletes a user, as an operator does."""
    passwords = Passwords(CHEAPEST_HASHES, Metrics(None), waiting=2)
    audit, events = Audit(_shared.database, clock), Events(_shared.database, clock)
    verification = AddressVerification(_shared.database, clock, by_mail=False)
    parts = (passwords, hostnames_on(_shared.database, clock), audit, events, verification)
    service = Users(_shared.database, *parts, clock)
    yield lambda user_id: service.delete(Principal("operator", "", ""), user_id, None)
    passwords.close()


def results(view: ChallengeView) -> dict[str, str]:
    return {one.method: one.result for one in view.checks}


def owner_of(engine: sa.Engine, hostname: str) -> tuple[int, str] | None:
    with engine.connect() as connection:
        row = connection.execute(
            sa.select(HostnameClaim.user_id, HostnameClaim.proof).where(
                HostnameClaim.hostname == hostname
            )
        ).one_or_none()
    return None if row is None else (row[0], row[1])


def notices(engine: sa.Engine, hostname: str) -> list[tuple[int, str]]:
    with engine.connect() as connection:
        found = connection.execute(
            sa.select(HostnameNotice.user_id, HostnameNotice.kind)
            .where(HostnameNotice.hostname == hostname, HostnameNotice.kind != "verified")
            .order_by(HostnameNotice.id)
        )
        return [(user_id, kind) for user_id, kind in found]


def events(engine: sa.Engine, user_id: int) -> list[str]:
    with engine.connect() as connection:
        of_user = sa.select(Event.type).where(Event.user_id == user_id).order_by(Event.id)
        return [*connection.execute(of_user).scalars()]


def set_claim(engine: sa.Engine, hostname: str, user_id: int, proof: str) -> None:
    """Gives the name to the user, as an upload or an operator would."""
    with engine.begin() as connection:
        connection.execute(sa.delete(HostnameClaim).where(HostnameClaim.hostname == hostname))
        connection.execute(
            sa.insert(HostnameClaim).values(hostname=hostname, user_id=user_id, proof=proof)
        )


# Which record proves a name.


def test_a_txt_record_proves_a_name(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    view = parts.prove(users[0], name)

    assert (view.state, results(view)) == ("verified", {"txt": "found"})
    assert owner_of(engine, name) == (users[0], "challenge")


def test_no_record_is_explained(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    parts.create(users[0], name)
    view = parts.verify(users[0], name)

    assert view.state == "pending"
    assert [one.detail for one in view.checks] == [
        f"No {kind} record at _customer-certificates.{name}; resolver "
        f"{parts.dns_server.address} answered NXDOMAIN."
        for kind in ("TXT", "CNAME")
    ] + [f"{name} has no address."]
    assert owner_of(engine, name) is None


def test_another_users_record_proves_nothing(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    """Each sees which record would be the other's: it is public."""
    parts.set_text(parts.create(users[0], name))
    parts.create(users[1], name)
    view = parts.verify(users[1], name)

    assert (view.state, results(view)["txt"]) == ("pending", "missing")
    assert "1 TXT record at" in view.checks[0].detail
    assert owner_of(engine, name) is None


def test_one_of_several_records_is_enough(parts: Parts, users: list[int], name: str) -> None:
    views = [parts.create(user_id, name) for user_id in users]
    parts.set_text(*views)

    assert parts.verify(users[2], name).state == "verified"


def test_a_cname_record_proves_a_name(parts: Parts, users: list[int], name: str) -> None:
    view = parts.create(users[0], name)
    assert view.cname
    assert view.cname.target.endswith(f".{DOMAIN}")
    parts.dns_server.set(view.cname.name, "CNAME", f"{view.cname.target}.")

    view = parts.verify(users[0], name)

    assert (view.state, results(view)["cname"]) == ("verified", "found")


def test_a_cname_is_offered_only_with_a_domain_for_it(
    make: Make, users: list[int], name: str
) -> None:
    parts = make(domain=None)
    parts.create(users[0], name)

    view = parts.verify(users[0], name)

    assert view.cname is None
    assert set(results(view)) == {"txt", "http"}


def test_labels_are_never_used_again(parts: Parts, users: list[int], name: str) -> None:
    """A CNAME record that was left behind proves nothing for a new challenge."""
    before = parts.create(users[0], name)
    assert before.cname
    parts.dns_server.set(before.cname.name, "CNAME", f"{before.cname.target}.")
    parts.delete(users[0], name)

    after = parts.create(users[0], name)

    assert after.cname
    assert after.cname.target != before.cname.target
    assert parts.verify(users[0], name).state == "pending"
    with pytest.raises(NotFound):
        parts.challenges.get(users[1], name)


def test_a_name_does_not_prove_its_wildcard_or_a_name_beneath(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    parts.prove(users[0], name)
    others = [f"*.{name}", f"a.{name}", name.partition(".")[2]]
    for other in others:
        parts.create(users[0], other)
        assert parts.verify(users[0], other).state == "pending"

    assert [owner_of(engine, other) for other in others] == [None] * 3


def test_a_wildcard_is_proven_by_its_own_record(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    """At the same place as that of the name without the asterisk."""
    exact, wildcard = parts.create(users[0], name), parts.create(users[0], f"*.{name}")
    assert (exact.txt and exact.txt.name) == (wildcard.txt and wildcard.txt.name)
    assert wildcard.http is None
    parts.set_text(exact, wildcard)

    assert parts.verify(users[0], f"*.{name}").state == "verified"
    assert owner_of(engine, name) is None


def test_a_disagreeing_resolver_keeps_from_proof(make: Make, users: list[int], name: str) -> None:
    with ResolverStub(lambda query: dns.message.make_response(query).to_wire()) as other:
        parts = make(resolvers=[other.address])
        view = parts.prove(users[0], name)

    assert (view.state, results(view)["txt"]) == ("pending", "unclear")
    assert f"resolver {other.address} answered with no records" in view.checks[0].detail


def test_a_silent_resolver_keeps_from_proof(make: Make, users: list[int], name: str) -> None:
    with ResolverStub() as silent:
        view = make(resolvers=[silent.address], seconds=0.3).prove(users[0], name)

    assert (view.state, results(view)["txt"]) == ("pending", "unclear")
    assert "did not respond in time" in view.checks[0].detail


@pytest.mark.one_backend
def test_a_tenant_whose_resolver_is_silent_keeps_nobody_else_from_a_check(
    make: Make, users: list[int], name: str
) -> None:
    one, other, _ = users

    def verify(user_id: int, hostname: str) -> ChallengeView:
        TENANT.set(f"user {user_id}")
        return parts.verify(user_id, hostname)

    def await_query(hostname: str) -> None:
        while not any(hostname in str(query.question) for query in [*silent.queries]):
            wait([first], 0.01)

    with ResolverStub() as silent, ThreadPoolExecutor(3) as threads:
        parts = make(resolvers=[silent.address], seconds=2.0)
        for user_id, hostname in ((one, f"a.{name}"), (one, f"b.{name}"), (other, f"c.{name}")):
            parts.create(user_id, hostname)
        first = threads.submit(verify, one, f"a.{name}")
        await_query(f"a.{name}")
        with pytest.raises(TooManyRequests):
            threads.submit(verify, one, f"b.{name}").result()
        last = threads.submit(verify, other, f"c.{name}")

        assert {first.result().state, last.result().state} == {"pending"}


def test_a_broken_zone_keeps_from_proof(parts: Parts, users: list[int]) -> None:
    parts.create(users[0], BROKEN_ZONE)
    view = parts.verify(users[0], BROKEN_ZONE)

    assert set(results(view).values()) == {"unclear"}
    assert "SERVFAIL" in view.checks[0].detail


def test_an_international_name_is_one_name(parts: Parts, users: list[int], name: str) -> None:
    ascii_name = f"xn--bcher-kva.{name}"
    view = parts.prove(users[0], ascii_name)

    assert view.state == "verified"
    assert view.txt
    assert view.txt.name == f"_customer-certificates.{ascii_name}"


def test_a_name_too_long_for_a_record(parts: Parts, users: list[int]) -> None:
    """A file may prove it; a wildcard cannot be proven."""
    long = ".".join(["a" * 60] * 3 + ["b" * 50, "example"])

    view = parts.create(users[0], long)

    assert (view.txt, view.cname) == (None, None)
    assert view.http
    with pytest.raises(Conflict, match="too long"):
        parts.create(users[0], f"*.{long}")


# By a file.


@pytest.fixture
def web() -> Iterator[dict[str, bytes]]:
    """The files of a web server on this machine, by path. The empty path has its port."""

    def answer(request: Received) -> list[bytes]:
        path = request.line.split()[1]
        status, body = ("200 OK", files[path]) if path in files else ("404 Not Found", b"")
        return [f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body]

    files: dict[str, bytes] = {}
    with Receiver(answer) as server:
        files[""] = str(server.port).encode()
        yield files


def serve(web: dict[str, bytes], view: ChallengeView) -> None:
    assert view.http
    web["/" + view.http.url.split("/", 3)[3]] = f"{view.http.body}\n".encode()


def test_a_file_proves_a_name(
    make: Make, users: list[int], name: str, web: dict[str, bytes], engine: sa.Engine
) -> None:
    parts = make(port=int(web[""]))
    parts.dns_server.set(name, "A", "127.0.0.1")
    view = parts.create(users[0], name)
    assert results(parts.verify(users[0], name))["http"] == "missing"
    serve(web, view)

    view = parts.verify(users[0], name)

    assert (view.state, results(view)["http"]) == ("verified", "found")
    assert owner_of(engine, name) == (users[0], "challenge")


def test_another_users_file_proves_nothing(
    make: Make, users: list[int], name: str, web: dict[str, bytes]
) -> None:
    """Nor does a server that repeats what it is asked for."""
    parts = make(port=int(web[""]))
    parts.dns_server.set(name, "A", "127.0.0.1")
    mine, others = parts.create(users[0], name), parts.create(users[1], name)
    assert mine.http
    assert others.http
    path = "/" + mine.http.url.split("/", 3)[3]
    for body in (others.http.body, path, path.rpartition("/")[2]):
        web[path] = body.encode()
        assert parts.verify(users[0], name).state == "pending"


def test_an_address_is_proven_by_a_file_alone(
    make: Make, users: list[int], web: dict[str, bytes]
) -> None:
    parts = make(port=int(web[""]))
    view = parts.create(users[0], "127.0.0.1")
    assert (view.txt, view.cname) == (None, None)
    serve(web, view)

    assert parts.verify(users[0], "127.0.0.1").state == "verified"


def test_a_file_on_a_private_address_is_not_read(parts: Parts, users: list[int], name: str) -> None:
    parts.dns_server.set(name, "A", "10.0.0.1")
    parts.create(users[0], name)
    view = parts.verify(users[0], name)

    assert results(view)["http"] == "not_accepted"
    assert "private" in view.checks[-1].detail


def test_a_file_on_our_own_edge_proves_nothing(
    make: Make, users: list[int], name: str, web: dict[str, bytes]
) -> None:
    parts = make(port=int(web[""]), edge=["127.0.0.1"])
    parts.dns_server.set(name, "A", "127.0.0.1")
    serve(web, parts.create(users[0], name))

    view = parts.verify(users[0], name)

    assert (view.state, results(view)["http"]) == ("pending", "not_accepted")
    assert view.http is None


def test_a_file_under_anothers_proven_wildcard_proves_nothing(
    make: Make, users: list[int], name: str, web: dict[str, bytes]
) -> None:
    parts = make(port=int(web[""]))
    parts.dns_server.set(name, "A", "127.0.0.1")
    view = parts.create(users[0], name)
    serve(web, view)
    assert parts.prove(users[1], f"*.{name.partition('.')[2]}").state == "verified"

    view = parts.verify(users[0], name)

    assert (view.state, results(view)["http"]) == ("pending", "not_accepted")
    assert view.http is None
    parts.set_text(view)
    assert parts.verify(users[0], name).state == "verified"


def test_whether_a_name_leads_to_the_edge_is_recorded(
    make: Make, users: list[int], name: str, engine: sa.Engine
) -> None:
    parts = make(edge=[EDGE])
    parts.dns_server.set(name, "A", EDGE)
    parts.prove(users[0], name)

    with engine.connect() as connection:
        row = connection.execute(
            sa.select(HostnameClaim.resolves_to_edge, HostnameClaim.next_check_at)
        ).one()
    assert row[0] is True
    assert row[1] is not None


# Which user gets a name that another user has.


@pytest.mark.both_backends
@pytest.mark.parametrize("proof", ["none", "public_ca"])
def test_a_challenge_takes_a_name_from_weaker_claims(
    parts: Parts, users: list[int], name: str, engine: sa.Engine, proof: str
) -> None:
    set_claim(engine, name, users[0], proof)

    assert parts.prove(users[1], name).state == "verified"
    assert owner_of(engine, name) == (users[1], "challenge")
    assert notices(engine, name) == [(users[0], "released"), (users[1], "transferred")]


def test_an_operators_grant_is_never_contested(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    set_claim(engine, name, users[0], "operator")
    parts.set_text(parts.create(users[1], name))

    with pytest.raises(Conflict) as refused:
        parts.verify(users[1], name)

    assert [one.code for one in refused.value.errors] == ["hostname_taken"]
    assert parts.challenges.get(users[1], name).state == "pending"
    assert owner_of(engine, name) == (users[0], "operator")


def test_a_name_moves_if_the_incumbents_record_is_gone(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    parts.prove(users[0], name)

    assert parts.prove(users[1], name).state == "verified"
    assert owner_of(engine, name) == (users[1], "challenge")
    assert parts.challenges.get(users[0], name).state == "expired"
    with pytest.raises(Conflict, match="expired"):
        parts.verify(users[0], name)


def test_a_name_moves_if_the_incumbent_deleted_the_challenge(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    view = parts.prove(users[0], name)
    parts.delete(users[0], name)
    parts.set_text(view, parts.create(users[1], name))

    assert parts.verify(users[1], name).state == "verified"
    assert owner_of(engine, name) == (users[1], "challenge")


def contest(parts: Parts, users: list[int], name: str) -> tuple[ChallengeView, ChallengeView]:
    """The first of the users has the name, and the second has proven it, too."""
    first = parts.prove(users[0], name)
    second = parts.create(users[1], name)
    parts.set_text(first, second)
    assert parts.verify(users[1], name).state == "contesting"
    return first, second


def test_two_records_are_a_contest(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    contest(parts, users, name)

    assert owner_of(engine, name) == (users[0], "challenge")
    assert notices(engine, name) == [(users[1], "contested"), (users[0], "contested")]
    # Nothing is told twice, and nothing is decided before its time.
    assert parts.verify(users[1], name).state == "contesting"
    assert parts.work() == 0
    assert len(notices(engine, name)) == 2


def test_a_contest_ends_with_a_transfer_if_the_incumbents_record_is_gone(
    parts: Parts, users: list[int], name: str, engine: sa.Engine, clock: Clock
) -> None:
    _, second = contest(parts, users, name)
    parts.set_text(second)
    assert parts.verify(users[1], name).state == "contesting"

    clock.pass_by(72 * HOUR)
    parts.work()

    assert owner_of(engine, name) == (users[1], "challenge")
    assert parts.challenges.get(users[1], name).state == "verified"


@pytest.mark.parametrize("left", ["both", "neither", "incumbent"])
def test_a_contest_ends_for_the_incumbent(
    parts: Parts, users: list[int], name: str, engine: sa.Engine, clock: Clock, left: str
) -> None:
    first, second = contest(parts, users, name)
    if left == "incumbent":
        parts.set_text(first)
    elif left == "neither":
        assert second.txt
        parts.dns_server.delete(second.txt.name)

    clock.pass_by(72 * HOUR)
    parts.work()

    assert owner_of(engine, name) == (users[0], "challenge")
    assert parts.challenges.get(users[1], name).state == "expired"
    closed = [(users[1], "contest_closed"), (users[0], "contest_closed")]
    assert notices(engine, name)[2:] == closed


@pytest.mark.parametrize("chosen", [0, 1])
def test_an_operator_decides_a_contest(
    parts: Parts, users: list[int], name: str, engine: sa.Engine, chosen: int
) -> None:
    contest(parts, users, name)
    set_claim(engine, name, users[chosen], "operator")

    if chosen == 0:
        with pytest.raises(Conflict):
            parts.verify(users[1], name)
    else:
        parts.verify(users[1], name)

    assert owner_of(engine, name) == (users[chosen], "operator")
    state = parts.challenges.get(users[1], name).state
    assert state == ("verified" if chosen else "expired")


def test_both_parties_and_the_audit_hear_of_a_contest(
    parts: Parts, users: list[int], name: str, engine: sa.Engine, clock: Clock
) -> None:
    """Operators hear of the events of all users."""
    contest(parts, users, name)
    parts.notify()
    clock.pass_by(72 * HOUR)
    parts.work()
    parts.notify()

    assert events(engine, users[0]) == [
        "hostname.verified",
        "hostname.contested",
        "hostname.contest_closed",
    ]
    assert events(engine, users[1]) == ["hostname.contested", "hostname.contest_closed"]
    with engine.connect() as connection:
        actions = connection.execute(
            sa.select(AuditEntry.action)
            .where(AuditEntry.chain == users[1], AuditEntry.action.startswith("challenge."))
            .order_by(AuditEntry.seq)
        ).scalars()
        assert [*actions] == ["challenge.create", "challenge.contest", "challenge.close"]


def test_a_contest_ends_with_the_challengers_challenge(
    parts: Parts, users: list[int], name: str, engine: sa.Engine
) -> None:
    contest(parts, users, name)
    parts.delete(users[1], name)
    parts.notify()

    assert owner_of(engine, name) == (users[0], "challenge")
    for user_id in users[:2]:
        assert events(engine, user_id)[-2:] == ["hostname.contested", "hostname.contest_closed"]


@pytest.mark.both_backends
@pytest.mark.parametrize("deleted", [0, 1])
def test_a_contest_ends_with_the_user_who_is_deleted(
    parts: Parts,
    users: list[int],
    name: str,
    engine: sa.Engine,
    deleted: int,
    delete_user: Callable[[int], None],
) -> None:
    """A challenger who is left does not wait for the end of the contest."""
    first, second = contest(parts, users, name)
    parts.set_text((second, first)[deleted])
    delete_user(users[deleted])
    parts.work()
    parts.notify()

    left = users[1 - deleted]
    assert owner_of(engine, name) == (left, "challenge")
    last = "hostname.contest_closed" if deleted else "hostname.verified"
    assert events(engine, left)[-2:] == ["hostname.contested", last]


@pytest.mark.both_backends
def test_challenges_that_are_over_are_deleted_after_a_month(
    parts: Parts, users: list[int], name: str, clock: Clock, engine: sa.Engine
) -> None:
    parts.prove(users[0], name)
    parts.prove(users[1], f"a.{name}")
    parts.create(users[2], name)
    clock.pass_by(29 * 24 * HOUR)
    assert parts.contests.purge() == 0
    with engine.begin() as connection:
        released = sa.delete(HostnameClaim).where(HostnameClaim.hostname == f"a.{name}")
        connection.execute(released)
    clock.pass_by(5 * 24 * HOUR)

    assert parts.contests.purge() == 2
    assert parts.challenges.get(users[0], name).state == "verified"
    for user_id, hostname in ((users[1], f"a.{name}"), (users[2], name)):
        with pytest.raises(NotFound):
            parts.challenges.get(user_id, hostname)
    assert parts.contests.purge() == 0


def test_an_unreachable_incumbent_keeps_the_name(
    make: Make, users: list[int], name: str, engine: sa.Engine
) -> None:
    """Nobody gets a name by an attack on the incumbent's web server."""
    parts = make(port=1)
    parts.prove(users[0], name)
    # Nobody listens there.
    parts.dns_server.set(name, "A", "127.0.0.1")

    assert parts.prove(users[1], name).state == "contesting"
    assert owner_of(engine, name) == (users[0], "challenge")


def test_a_name_changes_hands_three_times_in_thirty_days(
    parts: Parts, users: list[int], name: str, engine: sa.Engine, clock: Clock
) -> None:
    parts.prove(users[0], name)
    for turn in (1, 0, 1):
        assert parts.prove(users[turn], name).state == "verified"

    with pytest.raises(Conflict, match="too often"):
        parts.prove(users[2], name)
    assert owner_of(engine, name) == (users[1], "challenge")

    clock.pass_by(timedelta(days=31))
    assert parts.prove(users[2], name).state == "verified"


# The worker.


def due(engine: sa.Engine, name: str) -> datetime | None:
    with engine.connect() as connection:
        return connection.execute(
            sa.select(HostnameChallenge.next_check_at).where(HostnameChallenge.hostname == name)
        ).scalar_one()


def test_a_worker_checks_more_and_more_rarely(
    parts: Parts, users: list[int], name: str, engine: sa.Engine, clock: Clock
) -> None:
    start = clock.now
    parts.create(users[0], name)
    minutes = []
    while (at := due(engine, name)) is not None:
        assert parts.work() == 0
        clock.now = at
        minutes.append(int((at - start).total_seconds() / 60))
        assert parts.work() == 1

    assert minutes[:7] == [1, 6, 21, 81, 321, 561, 801]
    assert minutes[-1] == 72 * 60
    view = parts.challenges.get(users[0], name)
    assert view.state == "expired"
    with pytest.raises(Conflict, match="expired"):
        parts.verify(users[0], name)
    assert parts.create(users[0], name).txt != view.txt


def test_a_worker_proves_a_name(
    parts: Parts, users: list[int], name: str, engine: sa.Engine, clock: Clock
) -> None:
    parts.set_text(parts.create(users[0], name))
    clock.pass_by(timedelta(minutes=1))
    parts.work()

    assert owner_of(engine, name) == (users[0], "challenge")
    assert parts.challenges.get(users[0], name).next_check_at is None


def test_a_challenge_expires_without_a_worker(
    parts: Parts, users: list[int], name: str, clock: Clock
) -> None:
    parts.create(users[0], name)
    clock.pass_by(72 * HOUR)

    assert parts.challenges.get(users[0], name).state == "expired"


@pytest.mark.both_backends
def test_two_workers_do_not_check_the_same(
    make: Make, users: list[int], name: str, clock: Clock
) -> None:
    """And what one that crashed had begun is due again after the lease."""
    one, other = make(), make()
    one.create(users[0], name)
    clock.pass_by(timedelta(minutes=1))
    now = clock()
    read = [worker.rounds._due(now) for worker in (one, other)]
    taken = [
        worker.rounds._leased(due, now, now + timedelta(minutes=3))
        for worker, due in zip((one, other), read, strict=True)
    ]

    assert [len(leased) for leased in taken] == [1, 0]
    assert other.work() == 0
    clock.pass_by(timedelta(minutes=3))
    assert other.work() == 1


@pytest.mark.both_backends
def test_a_worker_that_is_late_does_not_undo_anothers_work(
    make: Make, users: list[int], name: str, clock: Clock, engine: sa.Engine
) -> None:
    late, other = make(), make()
    view = late.create(users[0], name)
    clock.pass_by(timedelta(minutes=1))
    now = clock()
    (begun,) = late.rounds._leased(late.rounds._due(now), now, now + timedelta(minutes=3))
    clock.pass_by(timedelta(minutes=3))
    other.set_text(view)
    other.work()
    late.dns_server.delete(f"_customer-certificates.{name}")

    late.rounds._check(begun, now + timedelta(minutes=3))

    assert late.challenges.get(users[0], name).state == "verified"
    assert owner_of(engine, name) == (users[0], "challenge")


@pytest.mark.both_backends
def test_many_challenges_of_one_user_keep_nobody_waiting(
    parts: Parts, users: list[int], name: str, clock: Clock
) -> None:
    for number in range(20):
        parts.create(users[0], f"a{number}.{name}")
    clock.pass_by(timedelta(seconds=1))
    parts.create(users[1], name)
    clock.pass_by(timedelta(minutes=1))

    parts.work()

    assert parts.challenges.get(users[1], name).last_checked_at is not None
    checked = [parts.challenges.get(users[0], f"a{number}.{name}") for number in range(20)]
    assert sum(view.last_checked_at is not None for view in checked) == 2


def test_a_proof_that_is_missing_three_times_is_told_and_nothing_is_removed(
    parts: Parts, users: list[int], name: str, engine: sa.Engine, clock: Clock
) -> None:
    view = parts.prove(users[0], name)
    assert view.txt
    parts.dns_server.delete(view.txt.name)
    told = []
    for _ in range(4):
        clock.pass_by(timedelta(days=7))
        assert parts.work() == 1
        told.append(notices(engine, name))

    assert told == [[], [], [(users[0], "proof_missing")], [(users[0], "proof_missing")]]
    assert owner_of(engine, name) == (users[0], "challenge")
    parts.set_text(view)
    clock.pass_by(timedelta(days=7))
    parts.work()
    with engine.connect() as connection:
        assert connection.execute(sa.select(HostnameClaim.check_failures)).scalar_one() == 0


# Limits.


def test_a_user_has_so_many_pending_challenges(
    parts: Parts, engine: sa.Engine, users: list[int], name: str
) -> None:
    with engine.begin() as connection:
        quota = sa.update(User).where(User.id == users[0]).values(quotas='{"pending_challenges":2}')
        connection.execute(quota)
    for number in range(2):
        parts.create(users[0], f"a{number}.{name}")

    with pytest.raises(Conflict) as refused:
        parts.create(users[0], name)
    assert [one.code for one in refused.value.errors] == ["quota_exceeded"]
    parts.create(users[0], f"a0.{name}")
    parts.create(users[1], name)
    parts.delete(users[0], f"a0.{name}")
    parts.create(users[0], name)


def test_challenges_prove_so_many_hostnames(
    parts: Parts, engine: sa.Engine, users: list[int], name: str
) -> None:
    """They need no certificate, which would count; a wildcard in DNS answers for any number."""
    with engine.begin() as connection:
        quota = sa.update(User).where(User.id == users[0]).values(quotas='{"hostnames":1}')
        connection.execute(quota)
    parts.prove(users[0], f"a0.{name}")

    with pytest.raises(Conflict) as refused:
        parts.prove(users[0], name)
    assert [one.code for one in refused.value.errors] == ["quota_exceeded"]
    assert owner_of(engine, name) is None
    assert parts.prove(users[0], f"a0.{name}").state == "verified"
    assert parts.prove(users[1], name).state == "verified"


def test_a_domain_is_asked_so_often_for_all_users(
    make: Make,
    users: list[int],
    engine: sa.Engine,
    name: str,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit holds over all processes, and ends after some time."""
    monkeypatch.setattr(limits, "MOST_OF_DOMAIN", 6)
    one, other = make(), make()
    for user_id in (*users, late := add_users(engine, 1)[0]):
        one.create(user_id, name)
    for user_id in users * 2:
        one.verify(user_id, name)

    with pytest.raises(TooManyRequests) as refused:
        other.verify(late, name)

    assert refused.value.retry_after
    clock.pass_by(timedelta(seconds=refused.value.retry_after))
    other.verify(late, name)


@pytest.mark.parametrize(
    ("limit", "hostnames"),
    [
        ("MOST_OF_DOMAIN", ("a.{}", "b.{}", "c.{}")),
        ("MOST_OF_SERVER", tuple(f"{{}}.{zone}" for zone in (OTHER_ZONE, *ZONES))),
    ],
)
def test_a_user_does_not_use_up_the_checks_of_anothers_domain(
    parts: Parts,
    users: list[int],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    hostnames: tuple[str, ...],
) -> None:
    """A third of the checks is for one user, however often that user tries."""
    attacker, victim, _ = users
    monkeypatch.setattr(limits, limit, 6)
    label = name.partition(".")[2].partition(".")[0]
    names = [one.format(name if limit == "MOST_OF_DOMAIN" else label) for one in hostnames]
    for hostname in names:
        parts.create(attacker, hostname)
    for hostname in names[:2]:
        parts.verify(attacker, hostname)
    for _ in range(6):
        with pytest.raises(TooManyRequests):
            parts.verify(attacker, names[2])

    parts.create(victim, names[2])
    assert parts.verify(victim, names[2]).last_checked_at


def test_a_dns_server_is_asked_so_often_for_all_domains(
    parts: Parts, users: list[int], engine: sa.Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_OF_SERVER", 3)
    names = [f"{name.partition('.')[2].partition('.')[0]}.{zone}" for zone in ZONES]
    for user_id, hostname in zip(users, (names[0], *names), strict=True):
        parts.create(user_id, hostname)
        parts.verify(user_id, hostname)

    late = add_users(engine, 1)[0]
    parts.create(late, names[1])
    with pytest.raises(TooManyRequests, match="DNS servers"):
        parts.verify(late, names[1])


def test_a_worker_waits_until_a_domain_may_be_asked_again(
    parts: Parts, users: list[int], name: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_OF_DOMAIN", 0)
    parts.create(users[0], name)
    clock.pass_by(timedelta(minutes=1))
    parts.work()

    view = parts.challenges.get(users[0], name)
    assert view.last_checked_at is None
    assert view.next_check_at == clock.now + timedelta(minutes=10, seconds=1)
