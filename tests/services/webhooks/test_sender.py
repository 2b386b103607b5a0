"""Slow endpoints delay only their own deliveries."""

import math
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from customer_certificates.gateways.database import Database
from customer_certificates.gateways.master_keys import MasterKeys
from customer_certificates.services.webhooks import dispatcher

from ...latencies import require_fair
from ...tables import add_users
from .test_dispatcher import WAIT_SECONDS, Told

pytestmark = pytest.mark.one_backend
# As many as a user may have.
_WEBHOOKS = 20


@pytest.fixture
def told(database: Database, engine: sa.Engine, master_keys: MasterKeys) -> Iterator[Told]:
    told = Told(database, engine, master_keys, attempt_seconds=2 * WAIT_SECONDS)
    yield told
    told.receiver.release()
    told.close()


def attack(told: Told, user_id: int, certificates: int) -> None:
    """Records events of many certificates of a user, for many slow endpoints."""
    for number in range(_WEBHOOKS):
        told.webhook(f"/slow/{user_id}/{number}", user_id)
    for certificate in range(certificates):
        told.happen(1000 * user_id + certificate, user_id)


def waiting(told: Told, user_id: int) -> int:
    """Returns the number of active requests to a user's endpoints."""
    counts = told.receiver.waiting.copy()
    return sum(counts[path] for path in counts if path.startswith(f"/slow/{user_id}/"))


def lags(told: Told, number: int) -> list[float]:
    """Returns the seconds of each delivery to the quick endpoint."""
    committed: dict[int, float] = {}
    before = len(told.receiver.ids("/quick"))
    for certificate in range(1, number + 1):
        committed[told.happen(certificate)] = time.time()
    told.wait(lambda: len(told.receiver.ids("/quick")) == before + number)
    arrived = [one for one in [*told.receiver.received] if one.path == "/quick"][before:]
    assert {one.id for one in arrived} == {*committed}
    return [one.at - committed[one.id] for one in arrived]


def test_slow_endpoints_of_one_tenant_delay_no_delivery_of_another(
    told: Told, pytestconfig: pytest.Config
) -> None:
    """They were quick until now, so each has the most concurrent requests of an endpoint."""
    is_long = pytestconfig.getoption("long")
    number = 500 if is_long else 50
    told.webhook("/quick")
    attack(told, told.stranger, 20)
    told.work()
    told.wait(lambda: len(told.receiver.received) == 20 * _WEBHOOKS)
    quiet = lags(told, number)
    told.receiver.delay = lambda path: math.inf if path.startswith("/slow/") else 0
    for certificate in range(20):
        told.happen(1000 * told.stranger + certificate, told.stranger)
    told.wait(lambda: waiting(told, told.stranger) >= 32)
    beside = lags(told, number)

    # Half of the quick senders, and half of the slow ones.
    assert waiting(told, told.stranger) <= 64
    told.receiver.release()
    told.wait(lambda: len(told.receiver.received) == 40 * _WEBHOOKS + 2 * number)
    if is_long:
        require_fair(quiet, beside)


def test_slow_endpoints_of_many_tenants_delay_no_delivery_of_another(
    told: Told, engine: sa.Engine
) -> None:
    """They are not known as slow yet, and together they have all senders."""
    attackers = add_users(engine, 4)
    told.receiver.delay = lambda path: math.inf if path.startswith("/slow/") else 0
    for attacker in attackers:
        attack(told, attacker, 2)
    told.webhook("/quick")
    told.work()
    told.wait(lambda: sum(waiting(told, attacker) for attacker in attackers) >= 64)
    events = [told.happen(certificate) for certificate in range(1, 51)]

    told.wait(lambda: len(told.receiver.ids("/quick")) == len(events))
    assert sorted(told.receiver.ids("/quick")) == events


def test_a_slow_endpoint_gets_fewer_requests_at_once(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(dispatcher, "_SECONDS_AT_ONCE", 0.2)
    told.receiver.delay = lambda path: {"/quick": 0.0, "/slow": 0.2}[path]
    told.webhook("/slow")
    told.webhook("/quick")
    for certificate in range(40):
        told.happen(certificate)
    told.work()

    told.wait(lambda: len(told.receiver.ids("/quick")) == 40)
    assert len(told.receiver.ids("/slow")) < 40
    told.wait(lambda: len(told.receiver.ids("/slow")) > 3)
    assert told.receiver.most_waiting["/slow"] == 1


def test_an_endpoint_gets_no_more_than_sixteen_requests_at_once(told: Told) -> None:
    told.webhook("/")
    for certificate in range(100):
        told.happen(certificate)
    told.receiver.delay = lambda _path: math.inf if len(told.receiver.received) > 50 else 0
    told.work()

    told.wait(lambda: told.receiver.waiting["/"] == 16)
    told.receiver.release()
    told.wait(lambda: len(told.receiver.ids()) == 100)
    assert told.receiver.most_waiting["/"] == 16
