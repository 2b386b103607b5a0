"""Transactions that are committed together share no tenant, no failure and no lock."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import BigInteger, Text, bindparam, func, select, update

from customer_certificates.errors import TooManyRequests, Unavailable
from customer_certificates.gateways import loop
from customer_certificates.gateways.admission.limiter import TENANT
from customer_certificates.gateways.database import BoundStatement, ConstraintBroken, Database
from customer_certificates.gateways.database.prepared import Row
from customer_certificates.models import User

from .test_pipeline import together, users, whose

__all__ = ["users"]
_WAIT_SECONDS = 30
# SQLite has one writer at a time.
pytestmark = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)


class Renaming:
    """A transaction that gives a user a name, and in its second trip an email."""

    def __init__(self, database: Database) -> None:
        this = update(User).where(User.id == bindparam("of_id", type_=BigInteger))
        self._name = database.prepare(
            this.values(name=bindparam("new", type_=Text)).returning(User.id)
        )
        self._email = database.prepare(
            this.values(email_key=bindparam("key", type_=Text)).returning(User.id)
        )
        self._whose = whose(database)
        self._database = database

    def of(
        self, user_id: int, *, key: str = "", then: Callable[[], None] = lambda: None
    ) -> Callable[[], list[list[Row]]]:
        """The call; `then` is called between its two trips."""
        first: list[BoundStatement] = [
            (self._name, {"of_id": user_id, "new": "new"}),
            (self._whose, {"user_id": user_id}),
        ]

        def rest(rows: list[list[Row]]) -> Sequence[BoundStatement]:
            then()
            assert rows == [[(user_id,)], [(user_id,)]]
            return [(self._email, {"of_id": user_id, "key": key or f"new-{user_id}"})]

        return lambda: self._database.run_two_step_transaction(user_id, first, rest)


@pytest.fixture
def renaming(database: Database) -> Renaming:
    return Renaming(database)


def stored(engine: sa.Engine) -> dict[int, tuple[str, bool]]:
    """By user: the name, and whether the email is new."""
    with engine.begin() as connection:
        rows = connection.execute(select(User.id, User.name, User.email_key))
        return {row.id: (row.name, row.email_key.startswith("new-")) for row in rows}


def test_waiting_jobs_share_a_transaction_and_see_only_their_own_rows(
    renaming: Renaming, users: list[int], engine: sa.Engine
) -> None:
    answers = together([renaming.of(user_id) for user_id in users])

    assert answers == [[[(user_id,)]] * 3 for user_id in users]
    assert stored(engine) == dict.fromkeys(users, ("new", True))
    with engine.begin() as connection:
        assert len(set(connection.scalars(sa.text("SELECT xmin::text FROM users")))) == 1


def test_jobs_of_one_user_run_in_order(
    renaming: Renaming, users: list[int], engine: sa.Engine
) -> None:
    answers = together([renaming.of(users[0]) for _ in range(5)])

    assert answers == [[[(users[0],)]] * 3] * 5
    assert stored(engine)[users[0]] == ("new", True)


@pytest.mark.parametrize("kind", ["refusal", "constraint"])
def test_a_failing_job_changes_nothing_and_fails_alone(
    renaming: Renaming, users: list[int], engine: sa.Engine, kind: str
) -> None:
    def refuse() -> None:
        raise LookupError

    taken = f"{users[-1]}@nowhere.example"
    with engine.begin() as connection:
        connection.execute(update(User).where(User.id == users[-1]).values(email_key=taken))
    wrong = (
        renaming.of(users[0], then=refuse)
        if kind == "refusal"
        else renaming.of(users[0], key=taken)
    )
    before, others = stored(engine), users[1:-1]
    failed, *answers = together([wrong, *(renaming.of(user_id) for user_id in others)])

    assert isinstance(failed, LookupError if kind == "refusal" else ConstraintBroken)
    assert answers == [[[(user_id,)]] * 3 for user_id in others]
    assert stored(engine) == before | dict.fromkeys(others, ("new", True))


def test_a_job_that_waits_for_a_lock_waits_alone(
    renaming: Renaming, users: list[int], engine: sa.Engine
) -> None:
    others = users[1:]
    with engine.connect() as holder:

        async def main() -> Any:
            with holder.begin():
                holder.execute(select(User.id).where(User.id == users[0]).with_for_update())
                locked = asyncio.create_task(loop.spawn(renaming.of(users[0])))
                runs = (loop.spawn(renaming.of(user_id)) for user_id in others)
                answers = await asyncio.gather(*runs)
                assert not locked.done()
            return answers, await locked

        answers, last = asyncio.run(asyncio.wait_for(main(), _WAIT_SECONDS))

    assert answers == [[[(user_id,)]] * 3 for user_id in others]
    assert last == [[(users[0],)]] * 3
    assert stored(engine) == dict.fromkeys(users, ("new", True))


def test_waiting_jobs_of_one_tenant_leave_slots_to_others(
    renaming: Renaming, database: Database, users: list[int], engine: sa.Engine
) -> None:
    """Each job waits with its own connection. Jobs over the limit are rejected."""
    mine, other, *_ = users

    def rename() -> list[list[Row]]:
        TENANT.set("mine")
        return renaming.of(mine)()

    def change_another() -> None:
        TENANT.set("other")
        with database.begin(other) as session:
            session.execute(update(User).where(User.id == other).values(name="new"))

    async def main() -> list[Any]:
        with engine.connect() as holder, holder.begin():
            holder.execute(select(User.id).where(User.id == mine).with_for_update())
            tasks = [asyncio.create_task(loop.spawn(rename)) for _ in range(120)]
            while not await asyncio.to_thread(waits_for_lock, engine):
                pass
            for _ in range(4):
                await loop.spawn(change_another)
            answered = [task.exception() for task in tasks if task.done()]
        return answered + await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(asyncio.wait_for(main(), 2 * _WAIT_SECONDS))

    refused = [answer for answer in answers if isinstance(answer, TooManyRequests)]
    # The same 40 before the row is free, and in the end.
    assert len(refused) == 80
    assert len(answers) == 160
    assert answers.count([[(mine,)]] * 3) == 80


def waits_for_lock(engine: sa.Engine) -> bool:
    """Whether two transactions of the database wait for a lock."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with engine.connect() as connection:
        return bool(connection.execute(waiting).scalar_one() >= 2)


def test_a_lost_connection_reports_no_commit(
    renaming: Renaming, users: list[int], engine: sa.Engine
) -> None:
    def cut() -> None:
        with engine.begin() as connection:
            connection.execute(
                select(func.pg_terminate_backend(sa.column("pid")))
                .select_from(sa.text("pg_stat_activity"))
                .where(
                    sa.text(
                        "state = 'idle in transaction' AND datname = current_database() "
                        "AND pid <> pg_backend_pid()"
                    )
                )
            )

    before = stored(engine)
    answers = together([renaming.of(users[0], then=cut), renaming.of(users[1])])

    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert "may have been committed" in answers[0].detail
    assert stored(engine) == before
