"""A database of revision 0002, with keys as they were, is brought to this version: killed on the
way or not, each key opens afterwards, and nothing of one is left in the database's files."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from secrets import token_bytes
from time import monotonic, sleep
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy as sa

from customer_certificates import cli
from customer_certificates.gateways.database import Database, migration_engine
from customer_certificates.gateways.database.schema import SchemaError, vacuum_key_tables
from customer_certificates.maintenance import keys
from customer_certificates.models import NEVER

from ...conftest import Backend
from ...factories import a_pair
from ...second_decoder import open_all
from ...service import run, run_forked
from ...tables import NOW, number_in_audit
from ...test_migrations import Empty

_CERTIFICATES = 150
_CANARY = b"canary of an earlier version "
# Where it is killed: when some keys were sealed, and between the last of them and the overwriting
# of what held them.
_KILLS: dict[str, tuple[object, str, int]] = {
    "before the second batch": (Database, "run_two_step_transaction", 2),
    "before the files are written anew": (keys, "vacuum_key_tables", 1),
}
# Whether it is on, or one that began before is at work here.
_AUTOVACUUM = """
    SELECT current_setting('autovacuum')::boolean OR EXISTS (
        SELECT 1 FROM pg_stat_activity
        WHERE backend_type = 'autovacuum worker' AND datname = current_database()
    )
"""


def migrate_until_killed(kill: str) -> None:
    """In a process of its own."""
    owner, name, number = _KILLS[kill]
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def called(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*given)

    with patch.object(owner, name, called):
        cli.migrate()


class Older:
    """A database of revision 0002: two users, one with many certificates, one with a certificate
    that was replaced once, and one that 0001 had stored unread."""

    def __init__(self, empty: Empty) -> None:
        self.database = empty
        self.settings = empty.settings
        self.keys: dict[tuple[int, int], bytes] = {}
        empty.alembic("upgrade", "0002")
        self.engine = migration_engine(empty.url)
        tables = sa.MetaData()
        tables.reflect(self.engine)
        if self.engine.dialect.name == "postgresql":
            # Which statistics there are is for tests to say.
            with self.engine.begin() as connection:
                for name in tables.tables:
                    off = f"ALTER TABLE {name} SET (autovacuum_enabled = false)"
                    connection.execute(sa.text(off))
        with self.engine.begin() as connection:
            self._connection, self._tables = connection, tables.tables
            users = [self._add("users", **_user(number)) for number in range(2)]
            for number in range(_CERTIFICATES):
                self._certificate(users[0], number)
            replaced = self._certificate(users[1], _CERTIFICATES, version=2)
            self._add(
                "certificate_versions",
                certificate_id=replaced,
                version=1,
                body="PEM",
                private_key=self._key(replaced, 1),
            )
            pair = a_pair()
            unread = self._add(
                "certificates",
                user_id=users[1],
                active=True,
                body=pair.body,
                private_key=pair.key_pem,
                created_at=NOW,
            )
            self.keys[unread, 1] = pair.key_der

    def _certificate(self, user_id: int, number: int, version: int = 1) -> int:
        added = self._add(
            "certificates",
            user_id=user_id,
            active=number % 2 == 0,
            body="PEM",
            trust="public",
            version=version,
            private_key=b"",
            created_at=NOW,
        )
        table = self._tables["certificates"]
        self._connection.execute(
            table.update().where(table.c.id == added).values(private_key=self._key(added, version))
        )
        return added

    def _key(self, certificate_id: int, version: int) -> bytes:
        # Random, as keys are: so PostgreSQL compresses it nowhere.
        key = self.keys[certificate_id, version] = _CANARY + token_bytes(600)
        return key

    def _add(self, table: str, **values: Any) -> int:
        added = self._tables[table]
        statement = added.insert().values(values).returning(added.c.id)
        return int(self._connection.execute(statement).scalar_one())

    def files(self, backend: Backend) -> list[Path]:
        """Those of this database; on PostgreSQL without the log, of which nothing is promised."""
        if backend.name == "sqlite":
            return list(self.database.file.parent.iterdir())
        with self.engine.connect() as connection:
            connection.execute(sa.text("COMMIT"))
            connection.execute(sa.text("CHECKPOINT"))
            folder, oid = connection.execute(
                sa.text(
                    "SELECT current_setting('data_directory'), oid FROM pg_database"
                    " WHERE datname = current_database()"
                )
            ).one()
        return list(Path(folder, "base", str(oid)).iterdir())

    def with_keys(self, backend: Backend) -> list[Path]:
        sought = (_CANARY, a_pair().key_pem[40:90])
        return [
            file for file in self.files(backend) if any(key in file.read_bytes() for key in sought)
        ]


def _user(number: int) -> dict[str, Any]:
    return {
        "name": "Ada",
        "email": f"{number}@example.com",
        "email_key": f"{number}@example.com",
        "password_hash": "",
        "certificates_revision": bytes(16),
        "statuses_as_of": NOW,
        "statuses_change_at": NEVER,
        "created_at": NOW,
    }


@pytest.fixture
def older(backend: Backend, folder: Path) -> Iterator[Older]:
    made = Older(Empty(backend, folder))
    yield made
    made.engine.dispose()


def require_sealed(older: Older, backend: Backend) -> None:
    master_key = Path(older.settings["CC_DATA_DIR"], "master-key")
    assert open_all(older.engine, master_key) == older.keys
    assert older.with_keys(backend) == []
    with older.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT * FROM unsealed_keys")).all() == []
        # Nothing is left to be overwritten.
        assert connection.execute(sa.text("SELECT name FROM service_state")).all() == [("feed",)]
    # The one that was examined has an entry of its own.
    assert number_in_audit(older.engine, "keys.seal") == len(older.keys) - 1
    assert run("audit verify", older.settings).returncode == 0


def test_keys_are_sealed_byte_for_byte_and_nothing_is_left(older: Older, backend: Backend) -> None:
    assert older.with_keys(backend) != []
    ended = run("migrate", older.settings)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "Validated certificates from an earlier version: 1.",
        f"Encrypted private keys from an earlier version: {len(older.keys) - 1}.",
    ]
    require_sealed(older, backend)
    again = run("migrate", older.settings)
    assert (again.returncode, again.stdout) == (0, "")


@pytest.mark.parametrize("kill", _KILLS)
def test_it_is_killed_and_run_again(older: Older, backend: Backend, kill: str) -> None:
    program = partial(migrate_until_killed, kill)
    killed = run_forked(["migrate"], older.settings, program=program)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    refused = run("serve", {**older.settings, "CC_PORT": "1"})
    assert (refused.returncode, "Run: customer-certificates migrate" in refused.stderr) == (2, True)

    ended = run("migrate", older.settings)
    assert ended.returncode == 0, ended.stderr
    require_sealed(older, backend)


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[None]:
    """During the block, a transaction that has read no table sees what there was before it."""
    with engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        connection.execute(sa.text("SET idle_in_transaction_session_timeout = 0"))
        connection.execute(sa.text("SELECT 1"))
        yield


@contextmanager
def no_autovacuum(engine: sa.Engine) -> Iterator[None]:
    """During the block, the server replaces no statistics, not even those of its own tables. The
    rows that it replaces would stay as long as an older transaction."""
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")

        def turn(setting: str) -> None:
            connection.execute(sa.text(f"ALTER SYSTEM {setting}"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))

        turn("SET autovacuum = off")
        try:
            deadline = monotonic() + 60
            while connection.scalar(sa.text(_AUTOVACUUM)):
                assert monotonic() < deadline
                sleep(0.01)
            yield
        finally:
            turn("RESET autovacuum")


@pytest.mark.one_backend("postgresql")
def test_a_transaction_that_began_before_keeps_no_key(older: Older, backend: Backend) -> None:
    """Unless it has read the tables: then it is waited for."""
    with no_autovacuum(older.engine), snapshot(older.engine):
        ended = run("migrate", older.settings)

        assert ended.returncode == 0, ended.stderr
        require_sealed(older, backend)


@pytest.mark.one_backend("postgresql")
def test_statistics_keep_no_key(older: Older, backend: Backend) -> None:
    """PostgreSQL has values of each column in them."""
    with older.engine.begin() as connection:
        connection.execute(sa.text("ANALYZE"))
    with snapshot(older.engine):
        older.database.alembic("upgrade", "head")
        with pytest.raises(SchemaError, match="an older transaction is open"):
            vacuum_key_tables(older.database.url, patience=lambda _: None)
    ended = run("migrate", older.settings)

    assert ended.returncode == 0, ended.stderr
    require_sealed(older, backend)
