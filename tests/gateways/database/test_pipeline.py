"""Reads that share a connection share no tenant, no failure and no lost connection."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import BigInteger, Text, bindparam, cast, func, select

from customer_certificates.errors import Unavailable
from customer_certificates.gateways import loop
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.database.prepared import Prepared, TenantStatement
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.models import User

from ...servers import free_port

_WAIT_SECONDS = 30
# SQLite has no connection to share.
pytestmark = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)


def together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Runs each call in a greenlet of one loop, and gives its result, or what it raised."""

    async def main() -> list[Any]:
        runs = (loop.spawn(call) for call in calls)
        both = asyncio.gather(*runs, return_exceptions=True)
        return list(await asyncio.wait_for(both, _WAIT_SECONDS))

    return asyncio.run(main())


@pytest.fixture
def users(engine: sa.Engine) -> list[int]:
    with engine.begin() as connection:
        connection.execute(
            sa.insert(User),
            [
                {
                    "name": f"{number}",
                    "email": f"{number}@example.com",
                    "email_key": f"{number}@example.com",
                    "password_hash": "",
                    "certificates_revision": bytes(16),
                    "created_at": datetime.now(UTC),
                }
                for number in range(8)
            ],
        )
        return list(connection.scalars(select(User.id)))


@pytest.fixture
def database(fresh_database: Database) -> Database:
    """A pipe belongs to one event loop, and each test has one of its own."""
    return fresh_database


def whose(database: Database) -> Prepared:
    """Selects all rows. The tenant is only the transaction's."""
    asking = bindparam("user_id", type_=BigInteger)
    return database.prepare(select(User.id).where(asking > 0), by_key=True)


def test_each_statement_sees_the_rows_of_its_own_user(
    database: Database, users: list[int], engine: sa.Engine
) -> None:
    """In any order, with statements in between that see all rows."""
    own = whose(database)
    all_rows = database.prepare(select(User.id), tenant=None, by_key=True)

    def see(user_id: int) -> Callable[[], set[int]]:
        return lambda: {row[0] for row in own(user_id=user_id)}

    def see_all() -> set[int]:
        return {row[0] for row in all_rows()}

    asked = [*users, *reversed(users)] * 8
    calls = [call for user_id in asked for call in (see(user_id), see_all)]
    answers = together(calls)

    assert answers[::2] == [{user_id} for user_id in asked]
    assert all(answer == set(users) for answer in answers[1::2])


def test_a_statement_needs_a_tenant(backend: object) -> None:
    nobody: Any = None
    with pytest.raises(TypeError):
        TenantStatement(nobody, "name", "SELECT 1", [])


def test_a_statement_that_fails_is_the_only_one_to_fail(
    database: Database, users: list[int]
) -> None:
    by_id = database.prepare(select(User.id).where(User.id == bindparam("user_id")), by_key=True)
    # Ids that are no numbers make PostgreSQL fail.
    text = bindparam("text", type_=Text)
    wrong = database.prepare(select(cast(text, sa.Integer)), tenant=None, by_key=True)

    def read(user_id: int) -> Callable[[], int]:
        return lambda: int(by_id(user_id=user_id)[0][0])

    def fail() -> object:
        return wrong(text="nonsense") or None

    answers = together([call for user_id in users for call in (read(user_id), fail)])

    assert answers[::2] == users
    assert len(answers[1::2]) == len(users)


@pytest.mark.parametrize("state", ["idle", "in use"])
def test_a_read_is_repeated_on_a_new_connection(
    database: Database, users: list[int], engine: sa.Engine, state: str
) -> None:
    process = database.prepare(select(func.pg_backend_pid()), tenant=None, by_key=True)
    slow = database.prepare(
        select(func.pg_sleep(bindparam("seconds", type_=sa.Float)), func.pg_backend_pid()),
        tenant=None,
        by_key=True,
    )

    def cut(pid: int) -> None:
        with engine.begin() as connection:
            assert connection.scalar(select(func.pg_terminate_backend(pid)))

    def read() -> tuple[int, int]:
        before = process()[0][0]
        cut(before)
        return before, process()[0][0]

    def read_slowly() -> tuple[int, int]:
        return -1, slow(seconds=0.5)[0][1]

    def cut_meanwhile() -> None:
        query = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE "
            "'%pg_sleep%' AND state = 'active' AND datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
        is_cut = False
        while not is_cut:
            loop.sleep(0.01)
            with engine.begin() as connection:
                is_cut = bool(connection.scalar(query))

    if state == "idle":
        ((before, after),) = together([read])
        assert before != after
    else:
        answers = together([read_slowly, cut_meanwhile])
        assert answers[0][1] > 0


def test_a_read_is_rejected_without_a_server(backend: object) -> None:
    nowhere = Database(f"postgresql://a:b@127.0.0.1:{free_port()}/c", Metrics(None), threads=1)
    (answer,) = together([nowhere.ping])

    assert isinstance(answer, Unavailable)
    nowhere.close()
