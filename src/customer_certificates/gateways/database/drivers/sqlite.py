"""SQLite: its settings, locks and prepared statements."""

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

from ...files.file_locks import FileLocks
from ...loop import Threads
from ..prepared import DriverStatement, Row, SecondTrip

_POLL_SECONDS = 0.1
# Writers wait this long while a reader keeps the log from being truncated.
_TRUNCATE_SECONDS = 0.05
# SQLite overwrites deleted content with zeros. Only some builds do so by default.
_SETTINGS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON")
# These threads wait for writers of other processes, and for the disk. Whole prepared transactions
# run in them from begin to commit.
_THREADS = Threads("sqlite", 2)
# The write-ahead log keeps earlier versions of pages.
has_log_file = True
# A second writer of this process waits for a slot, not for SQLite's lock.
has_one_writer = True


def connect_arguments(url: URL) -> dict[str, Any]:
    """Returns the driver's arguments.

    They turn off its own transactions, which `configure` begins, and wait five seconds for a lock.
    """
    return {
        "isolation_level": None,
        "timeout": 5.0,
        "check_same_thread": False,
        "factory": WaitingConnection,
    }


def configure(engine: Engine) -> None:
    """Makes the file private, and begins every transaction as a writer."""
    path = Path(str(engine.url.database))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite copies the mode of this file to its log files.
    # Only if it does not exist: closing any descriptor of a file releases this process's locks on
    # it.
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
        # A transaction that begins as a reader may fail to become a writer: SQLITE_BUSY at once.
        dbapi_connection: Any = connection.connection.dbapi_connection
        dbapi_connection.begin()


class _Compiler(sqlite.base.SQLiteCompiler):
    """Writes hints, such as `INDEXED BY ix_certificates_trust_id`, after their table."""

    def get_from_hint_text(self, table: Any, text: Any) -> Any:
        return text


class WaitingConnection(sqlite3.Connection):
    """A connection whose transactions begin and commit off the event loop.

    Reads are fast, and wait for no writer (WAL).
    """

    def begin(self) -> None:
        """Begins a transaction as a writer."""
        _THREADS.run(self.execute, "BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commits the transaction, if there is one."""
        _THREADS.run(super().commit)


def is_passing(error: BaseException | None) -> bool:
    """Whether the same statement may succeed later.

    Such errors are a lock that was held too long, and a full or failing disk.
    """
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def lift_timeouts(connection: sqlite3.Connection, _record: object) -> None:
    """Does nothing: statements have no timeout."""


def prepared_dialect() -> Dialect:
    """Compiles statements with parameters as `?`."""
    dialect = sqlite.dialect(paramstyle="qmark")
    dialect.statement_compiler = _Compiler
    return dialect


def scope() -> None:
    """Returns nothing: SQLite has no row-level security."""


def file_locks(url: URL) -> FileLocks:
    """Returns the folder for locks, beside the file.

    One writer waits for any other, and SQLite does not say for which.
    """
    return FileLocks(Path(f"{url.database}-running"))


def listen(connection: Any, on_notification: Callable[[], None], closing: Event) -> None:
    """Calls `on_notification` when the file has changed, and once at the start.

    Runs until `closing` is set. No notification covers other writers, and a check costs
    microseconds.
    """
    seen = None
    while True:
        version = connection.execute("PRAGMA data_version").fetchone()
        if version != seen:
            seen = version
            on_notification()
        if closing.wait(_POLL_SECONDS):
            break


def begin_snapshot(connection: sqlite3.Connection) -> None:
    """Begins a transaction that only reads, and sees one state of the rows."""
    connection.execute("BEGIN")


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Copies the write-ahead log into the database's file, and empties it.

    Returns False while a reader or a writer prevents it.
    """
    connection.execute(f"PRAGMA busy_timeout = {_TRUNCATE_SECONDS * 1000:.0f}")
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def descriptor(connection: object) -> None:
    """Returns None: there is no socket."""


def is_lost(error: object) -> bool:
    """Returns False: a file does not disconnect."""
    return False


def is_lock_timeout(error: object) -> bool:
    """Returns False: a transaction waits for others before its first statement."""
    return False


def may_have_committed(error: object) -> bool:
    """Returns False: SQLite rolls back every commit that it does not confirm."""
    return False


class DriverConnection:
    """The DriverConnection of SQLite, whose module caches prepared statements."""

    descriptor: int | None = None

    def __init__(self, connection: WaitingConnection) -> None:
        self._connection = connection

    def run(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def run_pipeline(self, statements: list[DriverStatement]) -> list[list[Row]]:
        """Returns the rows of each statement.

        They form a transaction, unless they are within another.
        """
        if self._connection.in_transaction:
            return [self.run(*statement) for statement in statements]
        return self.run_two_step_transaction(statements, lambda _rows: [])

    def run_two_step_transaction(
        self, first_trip: list[DriverStatement], second_trip: SecondTrip
    ) -> list[list[Row]]:
        """Returns the rows of all statements, which are one transaction.

        Runs in a thread: many rows would block the event loop.
        """
        return _THREADS.run(self._run_transaction, first_trip, second_trip)

    def _run_transaction(
        self, first_trip: list[DriverStatement], second_trip: SecondTrip
    ) -> list[list[Row]]:
        self._connection.begin()
        try:
            rows = [self.run(*statement) for statement in first_trip]
            rows += [self.run(*statement) for statement in second_trip(rows)]
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        return rows

    def begin(self, tenant: object) -> None:
        """Does nothing: `configure` begins every transaction. SQLite has no row-level security."""

    def close(self) -> None:
        self._connection.close()
