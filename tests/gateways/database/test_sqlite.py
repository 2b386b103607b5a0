"""SQLite commits the transactions of several users together: the disk is waited for once."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import BigInteger, Text, bindparam, select, update

from customer_certificates.gateways.database import ConstraintBroken, Database
from customer_certificates.models import User

from .test_pipeline import together, users

__all__ = ["users"]
pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def keys(engine: sa.Engine) -> list[str]:
    """Returns the committed keys, over its own connection: the engine waits for the writer."""
    with closing(sqlite3.connect(str(engine.url.database))) as connection:
        return [key for (key,) in connection.execute("SELECT email_key FROM users ORDER BY id")]


def changing(
    database: Database, user_id: int, key: str, then: Callable[[], Any]
) -> Callable[[], list[list[Any]]]:
    """A transaction that reads a user and changes its email; `then` is called in between."""
    this = User.id == bindparam("of_id", type_=BigInteger)
    read = database.prepare(select(User.id).where(this))
    change = database.prepare(
        update(User).where(this).values(email_key=bindparam("to", type_=Text))
    )

    def rest(_: object) -> list[Any]:
        then()
        return [(change, {"of_id": user_id, "to": key})]

    return lambda: database.run_two_step_transaction(user_id, [(read, {"of_id": user_id})], rest)


def test_no_response_precedes_the_commit_of_its_group(
    database: Database, users: list[int], engine: sa.Engine
) -> None:
    before, seen = keys(engine), []
    answers = together(
        [changing(database, one, f"new {one}", lambda: seen.append(keys(engine))) for one in users]
    )

    assert not any(isinstance(answer, Exception) for answer in answers)
    assert seen == [before] * len(users)
    assert keys(engine) == [f"new {one}" for one in users]


def test_a_failing_statement_fails_alone(
    database: Database, users: list[int], engine: sa.Engine
) -> None:
    first, taken, *others = keys(engine)
    news = [taken, taken, *(f"new {one}" for one in users[2:])]
    calls = [changing(database, one, key, list) for one, key in zip(users, news, strict=True)]
    failed, *answers = together(calls)

    assert isinstance(failed, ConstraintBroken)
    assert not any(isinstance(answer, Exception) for answer in answers)
    assert others
    assert keys(engine) == [first, *news[1:]]
