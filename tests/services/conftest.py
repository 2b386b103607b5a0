"""The users of a database, and the statements that a test sends to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from customer_certificates.gateways.database import Database
from customer_certificates.gateways.database.drivers import postgresql, sqlite
from customer_certificates.gateways.database.prepared import DriverStatement
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.events.log import Events
from customer_certificates.services.users.address_verification import AddressVerification
from customer_certificates.services.users.password_hashing import Passwords
from customer_certificates.services.users.users import Users

from ..factories import CHEAPEST_HASHES
from ..ownership import hostnames_on
from ..tables import NOW

Counter = Callable[[Callable[[], Any]], list[str]]


@pytest.fixture
def users(database: Database) -> Iterator[Users]:
    passwords, clock = Passwords(CHEAPEST_HASHES, Metrics(None), waiting=2), lambda: NOW
    audit, events = Audit(database, clock), Events(database, clock)
    verification = AddressVerification(database, clock, by_mail=False)
    hostnames = hostnames_on(database, clock)
    yield Users(database, passwords, hostnames, audit, events, verification, clock)
    passwords.close()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Does something, and gives the SQL of all that it asked the database meanwhile.

    Other threads ask, too: once a minute, whether the rows of secrets in memory are there.
    """
    asked: list[str] = []
    asking = get_ident()

    def note(*statements: str) -> None:
        if get_ident() == asking:
            asked.extend(statements)

    for driver in (postgresql, sqlite):
        run = driver.DriverConnection.run

        def told(
            self: Any, name: str, sql: str, parameters: list[Any], run: Any = run
        ) -> list[tuple[Any, ...]]:
            note(sql)
            rows: list[tuple[Any, ...]] = run(self, name, sql, parameters)
            return rows

        monkeypatch.setattr(driver.DriverConnection, "run", told)

    together = postgresql.DriverConnection.run_pipeline

    def told_together(self: Any, sent: list[tuple[str, str, list[Any]]]) -> Any:
        # Every statement is sent with one that sets the tenant, which is not counted.
        note(*(sql for _name, sql, _parameters in sent if "set_config" not in sql))
        return together(self, sent)

    in_two_trips = postgresql.DriverConnection.run_two_step_transaction

    def told_in_two_trips(
        self: Any, first: list[DriverStatement], then: Callable[[Any], list[DriverStatement]]
    ) -> Any:
        def told_then(rows: Any) -> list[DriverStatement]:
            sent = then(rows)
            note(*(sql for _name, sql, _parameters in sent))
            return sent

        note(*(sql for _name, sql, _parameters in first if "set_config" not in sql))
        return in_two_trips(self, first, told_then)

    monkeypatch.setattr(postgresql.DriverConnection, "run_pipeline", told_together)
    monkeypatch.setattr(postgresql.DriverConnection, "run_two_step_transaction", told_in_two_trips)

    @contextmanager
    def listening() -> Iterator[None]:
        def told(_c: Any, _cursor: Any, sql: str, *_: Any) -> None:
            if not sql.startswith("BEGIN"):
                note(sql)

        event.listen(sa.Engine, "before_cursor_execute", told)
        yield
        event.remove(sa.Engine, "before_cursor_execute", told)

    def during(work: Callable[[], Any]) -> list[str]:
        asked.clear()
        with listening():
            work()
        return list(asked)

    return during


@pytest.fixture
def count(statements: Counter) -> Callable[[Callable[[], object]], int]:
    """Does something, and gives the number of statements that it took."""
    return lambda work: len(statements(work))
