"""What only SQLite needs: its settings, its locking, its prepared statements."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from sqlite3 import Error as Error
from sqlite3 import IntegrityError as IntegrityError
from threading import Event
from typing import Any

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect

from ..files.file_locks import FileLocks
from ..loop import Threads
from .prepared import Row, SentStatement

_LOOK_SECONDS = 0.1
# Writers wait as long while the log cannot be truncated because of a reader.
_TRUNCATE_SECONDS = 0.05
# SQLite overwrites deleted content with zeros. Some builds do so by default, others do not.
_SETTINGS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
)
# A transaction waits here for writers of other processes, and for the disk. Those that are prepared
# as a whole run here from begin to commit.
_THREADS = Threads("sqlite", 2)
# The write-ahead log keeps earlier versions of pages.
has_log_file = True
# A second one of this process waits for a slot, and not for SQLite's lock.
has_one_writer = True


def connect_arguments(url: URL) -> dict[str, Any]:
    """The driver's own transactions off (`configure` begins them), five seconds for a lock."""
    return {
        "isolation_level": None,
        "timeout": 5.0,
        "check_same_thread": False,
        "factory": WaitingConnection,
    }


def configure(engine: Engine) -> None:
    """A file that only its owner may read, and every transaction a writer's from its start."""
    path = Path(str(engine.url.database))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives the mode of this file to the log files that it puts beside it.
    # Only where it is not there: to close any descriptor of a file ends this process's locks on it.
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    with suppress(PermissionError):
        path.chmod(0o600)

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that begins as a reader cannot always become a writer: SQLITE_BUSY at once.
        dbapi_connection: Any = connection.connection.dbapi_connection
        dbapi_connection.begin()


class WaitingConnection(sqlite3.Connection):
    """A connection that begins and commits transactions without blocking the event loop. Reads are
    fast, and wait for nobody (WAL)."""

    def begin(self) -> None:
        """Begins a writer's transaction."""
        _THREADS.run(self.execute, "BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commits the transaction, if there is one."""
        _THREADS.run(super().commit)


def is_passing(error: BaseException | None) -> bool:
    """Whether the same statement may succeed later: a lock held too long, a full or broken disk."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def lift_timeouts(connection: sqlite3.Connection, _record: object) -> None:
    """Nothing: a statement may take as long as it needs."""


def prepared_dialect() -> Dialect:
    """Statements with parameters as `?`."""
    return sqlite.dialect(paramstyle="qmark")


def scope() -> None:
    """Nothing sets the tenant of a statement."""


def held_names(url: URL) -> FileLocks:
    """Beside the file: one writer waits for any other, and cannot tell for which."""
    return FileLocks(Path(f"{url.database}-running"))


def listen(connection: Any, heard: Callable[[], None], closing: Event) -> None:
    """Calls `heard` when the file has changed, and once at first, until `closing` is set. Nobody
    tells who else writes to it; to look costs microseconds."""
    seen = None
    while True:
        version = connection.execute("PRAGMA data_version").fetchone()
        if version != seen:
            seen = version
            heard()
        if closing.wait(_LOOK_SECONDS):
            break


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Moves the write-ahead log into the database's file, and empties it; False while a reader or a
    writer is in the way."""
    connection.execute(f"PRAGMA busy_timeout = {_TRUNCATE_SECONDS * 1000:.0f}")
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def descriptor(connection: object) -> None:
    """There is no socket."""


def is_lost(error: object) -> bool:
    """Never: a file does not hang up."""
    return False


def is_lock_timeout(error: object) -> bool:
    """Never: who waits for another transaction waits before the first statement."""
    return False


def may_have_committed(error: object) -> bool:
    """Never: what SQLite does not confirm, it rolls back."""
    return False


class DriverConnection:
    """The driver itself keeps each statement prepared."""

    descriptor: int | None = None

    def __init__(self, connection: WaitingConnection) -> None:
        self._connection = connection

    def run(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        """The rows of the statement. Errors are sqlite3's."""
        return self._connection.execute(sql, parameters).fetchall()

    def run_pipeline(self, statements: list[SentStatement]) -> list[list[Row]]:
        """The rows of each statement; a transaction by themselves, unless within another."""
        if self._connection.in_transaction:
            return [self.run(*statement) for statement in statements]
        return self.run_two_step_transaction(statements, lambda _rows: [])

    def run_two_step_transaction(
        self, first: list[SentStatement], then: Callable[[list[list[Row]]], list[SentStatement]]
    ) -> list[list[Row]]:
        """The rows of `first`, and of what `then` makes of them; all of them one transaction.

        It runs in a thread: one with many rows would block the event loop.
        """
        return _THREADS.run(self._run_transaction, first, then)

    def _run_transaction(
        self, first: list[SentStatement], then: Callable[[list[list[Row]]], list[SentStatement]]
    ) -> list[list[Row]]:
        self._connection.begin()
        try:
            rows = [self.run(*statement) for statement in first]
            rows += [self.run(*statement) for statement in then(rows)]
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        return rows

    def begin(self, tenant: object) -> None:
        """Nothing: `configure` has every transaction begin, and there is no second wall."""

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()
