"""PostgreSQL: its connections and prepared statements."""

from collections.abc import Callable
from threading import Event
from typing import Any

import psycopg
from psycopg import Error as Error
from psycopg import IntegrityError as IntegrityError
from psycopg import IsolationLevel, OperationalError, errors
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.waiting import Ready, Wait
from sqlalchemy import URL, Engine, Select, Text, bindparam, event, func, true
from sqlalchemy import select as select_of
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.interfaces import Dialect

from ... import loop
from ..prepared import DriverStatement, Row, SecondTrip, Tenant
from ..sql_functions import EVENTS_CHANNEL
from .libpq import DONE, OUTDATED, Values, connection_lost, send_prepared
from .pipeline import Pipe as Pipe

_READY = {
    (True, False): Ready.R,
    (False, True): Ready.W,
    (True, True): Ready.RW,
    (False, False): Ready.NONE,
}
_CONNECTING = loop.Threads("connecting", 4)
# A listener notices a shutdown within this time.
_SHUTDOWN_CHECK_SECONDS = 1.0
# The server's log is not affected.
has_log_file = False
has_one_writer = False
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
# No statement of ours takes a tenth of this. A slower one waits for a lock or a failing disk.
_SESSION = {
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
}
_CONNECTION: dict[str, Any] = {
    "application_name": "customer-certificates",
    # The default is the database's encoding. With SQL_ASCII, psycopg returns bytes instead of text.
    "client_encoding": "utf8",
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
    # After a failover, the former primary must not be read from.
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "5000",
    # psycopg drops statements that it prepares with DEALLOCATE ALL after a rollback, and ours too.
    "prepare_threshold": None,
}


def connect_arguments(url: URL) -> dict[str, Any]:
    """Returns psycopg's and libpq's parameters, without those that `url` sets."""
    return {name: value for name, value in _CONNECTION.items() if name not in url.query}


class WaitingConnection(psycopg.Connection[Any]):
    """A connection that waits for its server without blocking the event loop."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Returns the result of psycopg's exchange with the server."""
        if not loop.is_inside() or timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            awaited = next(gen)
            while True:
                ready = loop.until_ready(
                    self.pgconn.socket, read=bool(awaited & Wait.R), write=bool(awaited & Wait.W)
                )
                awaited = gen.send(_READY[ready])
        except StopIteration as end:
            return end.value


def configure(engine: Engine) -> None:
    """Makes the engine open connections that do not block the event loop."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, words: Any, names: Any) -> Any:
        return _CONNECTING.run(WaitingConnection.connect, *words, **names)


def is_passing(error: BaseException | None) -> bool:
    """Whether the same statement may succeed later.

    Such errors are timeouts, deadlocks, and a server that shuts down.
    """
    return isinstance(error, OperationalError | errors.ReadOnlySqlTransaction | OUTDATED)


def lift_timeouts(connection: Any, _record: object) -> None:
    """Removes the statement timeout of a new connection, for migrations.

    Its statements see the rows of all users, and do not block others for long.
    """
    connection.execute("SET statement_timeout = 0; SET lock_timeout = '10s'; SET cc.tenant = '*'")
    connection.commit()


def prepared_dialect() -> Dialect:
    """Compiles statements for libpq, with parameters $1, $2, …"""
    return PGDialect_psycopg(paramstyle="numeric_dollar")


def scope() -> Select[str]:
    """Returns the statement that sets the tenant for a statement in a pipeline."""
    return select_of(func.set_config("cc.tenant", bindparam("tenant", type_=Text), true()))


def short_lock_timeout() -> Select[str]:
    """Returns the statement that keeps a group's transaction from waiting for a lock."""
    return select_of(func.set_config("lock_timeout", "100ms", true()))


def planning_for_values() -> Select[str]:
    """Returns the statement that has the transaction's statements planned for their values."""
    return select_of(func.set_config("plan_cache_mode", "force_custom_plan", true()))


def file_locks(url: URL) -> None:
    """Returns None: PostgreSQL locks rows, so no request waits for unrelated ones."""


def listen(connection: Any, on_notification: Callable[[], None], closing: Event) -> None:
    """Calls `on_notification` for each notification and at the start, until `closing` is set."""
    connection.autocommit = True
    connection.execute(f"LISTEN {EVENTS_CHANNEL}")
    on_notification()
    while not closing.is_set():
        for _ in connection.notifies(timeout=_SHUTDOWN_CHECK_SECONDS, stop_after=1):
            on_notification()


def begin_snapshot(connection: Any) -> None:
    """Begins a transaction that only reads, and sees one state of the rows of all users."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    connection.execute("SELECT set_config('cc.tenant', '*', true)")


def truncate_log(connection: object) -> bool:
    """Returns True: there is no log to truncate."""
    return True


def descriptor(connection: Any) -> int:
    """Returns the socket of a connection."""
    return int(connection.pgconn.socket)


def is_lost(error: Any) -> bool:
    """Whether `error` means that the connection is closed."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def is_lock_timeout(error: Any) -> bool:
    """Whether `error` means that another transaction held a lock for too long."""
    return isinstance(error, errors.LockNotAvailable)


def may_have_committed(error: Any) -> bool:
    """Whether a commit that met `error` may have succeeded.

    It may, unless the server reported an error.
    """
    return error.sqlstate is None


class DriverConnection:
    """The DriverConnection of PostgreSQL. Prepares each statement at its first use.

    Speaks to libpq directly. A row by its key costs half of a cursor's, and an insert within a
    transaction a quarter of SQLAlchemy's.
    """

    def __init__(self, connection: Any) -> None:
        self.descriptor = descriptor(connection)
        self._connection = connection
        self._libpq = connection.pgconn
        self._values = Values(connection)
        self._names: dict[str, bytes] = {}
        self._prepared = 0

    def run(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        return self._run_all([(name, sql, parameters)])[0]

    def run_pipeline(self, statements: list[DriverStatement]) -> list[list[Row]]:
        """Returns the rows of each statement, in one trip to the server.

        Statements in libpq's pipeline mode up to one sync form a transaction, unless they are
        within another.
        """
        return self._run_all(statements)

    def run_two_step_transaction(
        self, first_trip: list[DriverStatement], second_trip: SecondTrip
    ) -> list[list[Row]]:
        try:
            rows = self._run_all(first_trip, before=b"BEGIN")
            return rows + self._run_all(second_trip(rows), after=b"COMMIT")
        except BaseException:
            if self._libpq.transaction_status in _OPEN:
                self._command(b"ROLLBACK")
            raise

    def begin(self, tenant: Tenant) -> None:
        """Begins a transaction of `tenant`, in one trip.

        psycopg would begin one at its first statement, and commits ours as its own.
        """
        if self._libpq.transaction_status == TransactionStatus.IDLE:
            self._command(f"BEGIN; SET LOCAL cc.tenant = '{tenant}'".encode())

    def close(self) -> None:
        self._connection.close()

    def _run_all(
        self,
        statements: list[DriverStatement],
        before: bytes | None = None,
        after: bytes | None = None,
    ) -> list[list[Row]]:
        libpq = self._libpq
        # A value that the driver cannot send is found before anything is sent.
        dumped = [self._values.dumped(values) for _, _, values in statements]
        unconfirmed: list[str] = []
        positions: list[int] = []
        count = 0
        libpq.enter_pipeline_mode()
        if before:
            libpq.send_query_params(before, None)
            count += 1
        for (name, sql, _), values in zip(statements, dumped, strict=True):
            prepared = self._names.get(name)
            if prepared is None:
                prepared = self._send_prepare(name, sql)
                unconfirmed.append(name)
                count += 1
            send_prepared(libpq, prepared, values)
            positions.append(count)
            count += 1
        if after:
            libpq.send_query_params(after, None)
        libpq.pipeline_sync()
        results = self._results(ExecStatus.PIPELINE_SYNC)
        libpq.exit_pipeline_mode()
        for result in results:
            if result.status not in DONE:
                for name in unconfirmed:
                    self._names.pop(name, None)
                raise self._failed(result)
        return [self._values.rows(results[position]) for position in positions]

    def _results(self, last: ExecStatus | None) -> list[Any]:
        """Returns the results up to the status `last`, or up to the end."""
        libpq = self._libpq
        while libpq.flush():
            loop.until_ready(self.descriptor, write=True)
            libpq.consume_input()
        results: list[Any] = []
        while True:
            while libpq.is_busy():
                loop.until_ready(self.descriptor)
                libpq.consume_input()
            result = libpq.get_result()
            if result is not None and result.status != last:
                results.append(result)
            elif result is not None or last is None:
                return results
            elif libpq.status == ConnStatus.BAD:
                raise connection_lost()

    def _command(self, command: bytes) -> None:
        self._libpq.send_query(command)
        for result in self._results(None):
            if result.status != ExecStatus.COMMAND_OK:
                raise _error(self._libpq, result)

    def _failed(self, result: Any) -> Exception:
        error = _error(self._libpq, result)
        if isinstance(error, OUTDATED):
            self._names.clear()
        return error

    def _send_prepare(self, name: str, sql: str) -> bytes:
        self._prepared += 1
        prepared = self._names[name] = f"{name}_{self._prepared}".encode()
        self._libpq.send_prepare(prepared, sql.encode())
        return prepared


def _error(libpq: Any, result: Any) -> Exception:
    if libpq.status == ConnStatus.BAD:
        return connection_lost()
    return errors.error_from_result(result)
