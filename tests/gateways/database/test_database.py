"""Transactions commit or roll back; prepared statements work on new connections."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from customer_certificates.errors import Unavailable
from customer_certificates.gateways.database import EVERYBODY, Database
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.models import User, new_revision

from ...conftest import Backend

_NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.fixture
def other(backend: Backend, engine: sa.Engine) -> Iterator[Any]:
    """Another session with an open write transaction."""
    if backend.name == "postgresql":
        url = backend.database_url.replace("+psycopg", "")
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
            yield connection
            connection.rollback()
    else:
        with closing(sqlite3.connect(str(engine.url.database), isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            yield file


def _user(email: str = "ada@example.com") -> User:
    return User(
        name="Ada",
        email=email,
        email_key=email,
        password_hash="none",
        certificates_revision=new_revision(),
        created_at=_NOW,
    )


def _count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(User)) or 0


def test_the_end_of_the_block_commits(database: Database, engine: sa.Engine) -> None:
    with database.begin(EVERYBODY) as session:
        session.add(_user())

    assert _count(engine) == 1


def test_an_exception_in_the_block_rolls_back(database: Database, engine: sa.Engine) -> None:
    def fail() -> None:
        with database.begin(EVERYBODY) as session:
            session.add(_user())
            session.flush()
            raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        fail()

    assert _count(engine) == 0


def test_a_violated_constraint_rolls_back(database: Database, engine: sa.Engine) -> None:
    with pytest.raises(IntegrityError), database.begin(EVERYBODY) as session:
        session.add_all([_user(), _user()])

    assert _count(engine) == 0


def test_a_write_that_waits_too_long_for_another_is_rejected(
    database: Database, engine: sa.Engine, other: Any
) -> None:
    def add() -> None:
        with database.begin(EVERYBODY) as session:
            session.add(_user())

    with pytest.raises(Unavailable) as caught:
        add()

    assert caught.value.retry_after
    other.rollback()
    assert _count(engine) == 0
    add()
    assert _count(engine) == 1


def test_reads_do_not_wait_for_a_writer(database: Database, other: Any) -> None:
    assert database.prepare(sa.select(User.id), tenant=None)() == []


def test_a_read_sees_what_was_committed_before_it(database: Database) -> None:
    names = database.prepare(sa.select(User.name).order_by(User.id), tenant=None)
    assert names() == []
    with database.begin(EVERYBODY) as session:
        session.add(_user())
        session.flush()
        assert names() == []

    assert names() == [("Ada",)]


def test_a_read_has_the_models_types_and_takes_parameters(database: Database) -> None:
    with database.begin(EVERYBODY) as session:
        session.add(one := _user())
        session.flush()
        session.add(_user("eve@example.com"))
    shown = (User.id, User.name, User.certificates_revision, User.created_at)
    by_id = database.prepare(sa.select(*shown).where(User.id == sa.bindparam("id")), tenant="id")

    assert by_id(id=one.id) == [(one.id, "Ada", one.certificates_revision, _NOW)]
    assert by_id(id=2**63 - 1) == []


@pytest.mark.one_backend("postgresql")
def test_only_marked_statements_are_planned_for_their_values(database: Database) -> None:
    mode = sa.select(sa.func.current_setting("plan_cache_mode"))
    anew = database.prepare(mode, tenant=None, is_planned_anew=True)
    once = database.prepare(mode, tenant=None)

    modes = [statement()[0][0] for statement in (once, anew, once)]

    assert modes == ["auto", "force_custom_plan", "auto"]


def test_a_name_like_sql_is_only_a_name(database: Database, engine: sa.Engine) -> None:
    by_key = database.prepare(
        sa.select(User.id).where(User.email_key == sa.bindparam("key")), tenant=None
    )

    assert by_key(key="'; DROP TABLE users; --") == []
    assert _count(engine) == 0


def test_the_error_of_a_missing_server_hides_its_password() -> None:
    url = "postgresql+psycopg://postgres:a-secret@127.0.0.1:1/x"
    database = Database(url, Metrics(None), threads=1)
    try:
        with pytest.raises(Unavailable) as of_read:
            database.ping()
        with pytest.raises(Unavailable) as of_write, database.begin(EVERYBODY) as session:
            session.connection()
    finally:
        database.close()
    assert "a-secret" not in f"{of_read.value} {of_write.value}"


def test_a_new_database_file_is_private_to_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "file.sqlite3"
    database = Database(f"sqlite:///{file}", Metrics(None), threads=1)
    with database.begin(EVERYBODY) as session:
        session.execute(sa.text("CREATE TABLE one (id INTEGER)"))
        modes = {path.name: path.stat().st_mode & 0o777 for path in file.parent.iterdir()}
    database.close()

    assert modes == dict.fromkeys(["file.sqlite3", "file.sqlite3-wal", "file.sqlite3-shm"], 0o600)
    assert file.parent.stat().st_mode & 0o777 == 0o700
