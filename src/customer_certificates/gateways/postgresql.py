"""What only PostgreSQL needs: how to connect, and libpq's prepared statements."""

import select
from collections.abc import Callable
from threading import Event
from typing import Any

from psycopg import Error as Error
from psycopg import IntegrityError as IntegrityError
from psycopg import OperationalError, errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from sqlalchemy import URL, Engine, Select, Text, bindparam, func, true
from sqlalchemy import select as select_of
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.interfaces import Dialect

from .prepared import Row, Sent, Tenant
from .sql import EVENTS_CHANNEL

_BINARY = 1
# So soon what listens sees that it is to end.
_LOOK_SECONDS = 1.0
# The server's log is its own affair.
has_log_file = False
_DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
# What was prepared is no longer there (a pooler's doing), or no longer fits (a migration's).
_OUTDATED = errors.InvalidSqlStatementName | errors.FeatureNotSupported
# No statement of ours takes a tenth of this; one that does is stuck behind a lock or a sick disk.
_SESSION = {
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
}
_CONNECTION: dict[str, Any] = {
    "application_name": "customer-certificates",
    # Otherwise that of the database, and with SQL_ASCII psycopg gives bytes instead of text.
    "client_encoding": "utf8",
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
    # After a failover, the server that was the primary must not be read from.
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "5000",
    # What psycopg prepares by itself it drops after a rollback with DEALLOCATE ALL, and ours too.
    "prepare_threshold": None,
}


def connect_arguments(url: URL) -> dict[str, Any]:
    """psycopg's and libpq's parameters, less those that `url` sets itself."""
    return {name: value for name, value in _CONNECTION.items() if name not in url.query}


def configure(engine: Engine) -> None:
    """Nothing: the connection's parameters say all."""


def is_passing(error: BaseException | None) -> bool:
    """Whether the same statement may succeed later: timeouts, deadlocks, a server going down."""
    return isinstance(error, OperationalError | errors.ReadOnlySqlTransaction | _OUTDATED)


def lift_timeouts(connection: Any, _record: object) -> None:
    """Lets the statements of a new connection take as long as they need, but not block others; and
    see everybody's rows."""
    connection.execute("SET statement_timeout = 0; SET lock_timeout = '10s'; SET cc.tenant = '*'")
    connection.commit()


def prepared_dialect() -> Dialect:
    """Statements in the form that libpq prepares, with parameters $1, $2, …"""
    return PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]


def scope() -> Select[tuple[str]]:
    """What, sent before a statement in one pipeline, says whose rows are to be seen by it."""
    return select_of(func.set_config("cc.tenant", bindparam("tenant", type_=Text), true()))


def held_names(url: URL) -> None:
    """None: whoever waits for a row waits for the one who has it."""


def listen(connection: Any, heard: Callable[[], None], closing: Event) -> None:
    """Calls `heard` at each announcement, and once when it hears them, until `closing` is set."""
    connection.autocommit = True
    connection.execute(f"LISTEN {EVENTS_CHANNEL}")
    heard()
    while not closing.is_set():
        for _ in connection.notifies(timeout=_LOOK_SECONDS, stop_after=1):
            heard()


def truncate_log(connection: object) -> bool:
    """True: there is no log to truncate from here."""
    return True


def descriptor(connection: Any) -> int:
    """The socket of a connection."""
    return int(connection.pgconn.socket)


def is_lost(error: Any) -> bool:
    """Whether `error` is the end of the connection, and not an answer on it."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def is_lock_timeout(error: Any) -> bool:
    """Whether `error` is the end of waiting for another transaction."""
    return isinstance(error, errors.LockNotAvailable)


def may_have_committed(error: Any) -> bool:
    """Whether a commit that met `error` may have been carried out: the server did not say no."""
    return error.sqlstate is None


class Runner:
    """Prepares each statement on one connection at its first use.

    It speaks to libpq directly: a row by its key costs half of what a cursor's costs, an insert
    within a transaction a quarter of what SQLAlchemy's costs.
    """

    def __init__(self, connection: Any) -> None:
        self.descriptor = descriptor(connection)
        self._connection = connection
        self._libpq = connection.pgconn
        self._transformer = Transformer(connection)
        self._names: dict[str, bytes] = {}
        self._prepared = 0

    def run(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        """The rows of the statement. Errors are psycopg's."""
        prepared = self._names.get(name) or self._prepare(name, sql)
        result = self._libpq.exec_prepared(prepared, self._dumped(parameters), None, _BINARY)
        if result.status not in _DONE:
            raise self._failed(result)
        return self._rows(result)

    def run_together(self, statements: list[Sent]) -> list[list[Row]]:
        """The rows of each statement, all of them in one trip to the server.

        What is sent in libpq's pipeline mode up to one sync is a transaction by itself, unless it
        is within another.
        """
        return self._run_all(statements)

    def run_in_two_trips(
        self, first: list[Sent], then: Callable[[list[list[Row]]], list[Sent]]
    ) -> list[list[Row]]:
        """The rows of `first`, and of what `then` makes of them; all of them one transaction."""
        try:
            rows = self._run_all(first, before=b"BEGIN")
            return rows + self._run_all(then(rows), after=b"COMMIT")
        except BaseException:
            if self._libpq.transaction_status in _OPEN:
                self._libpq.exec_(b"ROLLBACK")
            raise

    def begin(self, tenant: Tenant) -> None:
        """Begins a transaction of `tenant`, in one trip. psycopg, which would begin one at its own
        first statement, commits ours as its own."""
        if self._libpq.transaction_status == TransactionStatus.IDLE:
            _command(self._libpq, f"BEGIN; SET LOCAL cc.tenant = '{tenant}'".encode())

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _run_all(
        self, statements: list[Sent], before: bytes | None = None, after: bytes | None = None
    ) -> list[list[Row]]:
        names = [self._names.get(name) or self._prepare(name, sql) for name, sql, _ in statements]
        results = self._pipelined(names, [values for _, _, values in statements], before, after)
        for result in results:
            if result.status not in _DONE:
                raise self._failed(result)
        first = 1 if before else 0
        return [self._rows(result) for result in results[first : first + len(statements)]]

    def _pipelined(
        self,
        names: list[bytes],
        parameters: list[list[Any]],
        before: bytes | None,
        after: bytes | None,
    ) -> list[Any]:
        libpq = self._libpq
        results: list[Any] = []
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        libpq.enter_pipeline_mode()
        if before:
            libpq.send_query_params(before, None)
        for name, values in zip(names, parameters, strict=True):
            libpq.send_query_prepared(name, self._dumped(values), None, _BINARY)
        if after:
            libpq.send_query_params(after, None)
        libpq.pipeline_sync()
        while libpq.flush():
            poll.modify(self.descriptor, select.POLLIN | select.POLLOUT)
            poll.poll()
            libpq.consume_input()
        poll.modify(self.descriptor, select.POLLIN)
        while True:
            while libpq.is_busy():
                poll.poll()
                libpq.consume_input()
            result = libpq.get_result()
            if result is None:
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                libpq.exit_pipeline_mode()
                return results
            results.append(result)

    def _failed(self, result: Any) -> Exception:
        error = _error(self._libpq, result)
        if isinstance(error, _OUTDATED):
            self._names.clear()
        return error

    def _dumped(self, values: list[Any]) -> Any:
        return self._transformer.dump_sequence(values, [PyFormat.TEXT] * len(values))

    def _rows(self, result: Any) -> list[Row]:
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _prepare(self, name: str, sql: str) -> bytes:
        self._prepared += 1
        prepared = f"{name}_{self._prepared}".encode()
        result = self._libpq.prepare(prepared, sql.encode())
        if result.status != ExecStatus.COMMAND_OK:
            raise _error(self._libpq, result)
        self._names[name] = prepared
        return prepared


def _command(libpq: Any, command: bytes) -> None:
    result = libpq.exec_(command)
    if result.status != ExecStatus.COMMAND_OK:
        raise _error(libpq, result)


def _error(libpq: Any, result: Any) -> Exception:
    if libpq.status == ConnStatus.BAD:
        return OperationalError("the connection to the server was lost")
    return errors.error_from_result(result)
