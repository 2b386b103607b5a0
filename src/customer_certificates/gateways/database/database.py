"""Runs transactions and prepared statements, with limits for each tenant."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from threading import Event
from typing import Any, TypeVar

from sqlalchemy import NullPool, column, make_url, select, table
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .. import loop
from ..admission.limiter import Slots
from ..files.file_locks import FileLocks
from ..metrics import Metrics
from .connections import Connections
from .engines import open_engine
from .group_commit import Groups, Job, OutcomeUnknown
from .prepared import (
    EVERYBODY,
    BoundStatement,
    DriverConnection,
    DriverStatement,
    Prepared,
    Row,
    SqlStatement,
    Tenant,
    TenantStatement,
    converted,
    driver_statements,
)
from .transaction import ConstraintBroken, Locked, Transaction, unavailable

T = TypeVar("T")
# Runs a prepared statement with its parameters, and returns its rows.
ReadStatement = Callable[..., list[Row]]

# The requests of one tenant that may wait for each slot of the tenant.
_WAITING_PER_SLOT = 32
# The jobs in all groups; one tenant may have half of them. A group takes 16.
_GROUPED = 32
_GROUPED_WAITING_PER_SLOT = 4
# As long as a PostgreSQL session waits for a row (lock_timeout).
_LOCK_SECONDS = 3.0


class Database:
    """A connection pool with transactions and prepared statements.

    `begin` opens the transaction of one use case; `prepare` creates a fast statement. Reads and
    writes go to the same primary server: a replica could return stale rows.
    """

    def __init__(self, url: str, metrics: Metrics, *, threads: int) -> None:
        """Opens the database at `url`, a URL of SQLAlchemy.

        `threads` limits the concurrent transactions of this process, and also its concurrent reads
        that are not by a key.
        """
        self._driver, self._engine = open_engine(
            url, pool_size=threads, max_overflow=0, pool_timeout=5, pool_use_lifo=True
        )
        _, self._connector = open_engine(url, poolclass=NullPool)
        self._connections = Connections(self._driver, self._engine, self._connector, metrics)
        self._watchdog = self._connections.watchdog
        self._dialect: Dialect = self._driver.prepared_dialect()
        self._prepared = 0
        # A row of a table, not a constant: SQLite answers a constant without reading its file.
        version = table("alembic_version", column("version_num"))
        self._ping = self.prepare(select(version.c.version_num), tenant=None, by_key=True)
        scope = self._driver.scope()
        self._scope = None if scope is None else self.prepare(scope, tenant=None)
        self._transactions, self._reads, self._grouped = (
            Slots(size, metrics.request_rejected, waiting_per_slot=waiting, may_hang=True)
            for size, waiting in (
                (1 if self._driver.has_one_writer else threads, _WAITING_PER_SLOT),
                (threads, _WAITING_PER_SLOT),
                (_GROUPED, _GROUPED_WAITING_PER_SLOT),
            )
        )
        self._file_locks: FileLocks | None = self._driver.file_locks(make_url(url))
        self._pipe: Any = None
        lock_timeout: list[BoundStatement] = []
        self._planning: list[DriverStatement] = []
        if self._scope:
            planning = self.prepare(self._driver.planning_for_values(), tenant=None)
            self._planning = driver_statements([(planning, {})])
            lock_timeout = [(self.prepare(self._driver.short_lock_timeout(), tenant=None), {})]
            self._pipe = self._driver.Pipe(self._connections.open, self._scope, self._watchdog)
        self._groups = Groups(self._transact_group, self._transact, driver_statements(lock_timeout))

    @contextmanager
    def begin(self, tenant: Tenant) -> Iterator[Transaction]:
        """A transaction that commits at the end of the block, or rolls back.

        It sees only the rows of `tenant`, whatever its statements select (on PostgreSQL). Raises
        Unavailable if the database cannot run it now. Violated constraints raise SQLAlchemy's
        IntegrityError.
        """
        self._require_responding()
        of_session = self._connections.of_session
        committing = False
        try:
            self._connections.initialize()
            with (
                self._transactions.hold(),
                Transaction(self._engine, self._driver, of_session, self._scope) as session,
                session.begin(),
            ):
                session.enter(tenant)
                yield session
                committing = True
        except IntegrityError:
            raise
        except PoolTimeoutError as error:
            raise unavailable() from error
        except DBAPIError as error:
            if error.connection_invalidated or self._driver.is_passing(error.orig):
                raise unavailable(committing) from error
            raise
        except self._driver.Error as error:
            if self._driver.is_passing(error):
                raise unavailable(committing) from error
            raise

    def prepare(
        self,
        statement: SqlStatement,
        columns: Sequence[str] | None = None,
        *,
        tenant: str | None = "user_id",
        by_key: bool = False,
        is_planned_anew: bool = False,
    ) -> Prepared:
        """Returns a prepared statement.

        `columns` are those that an insert fills.

        `by_key`: the statement is a read that always takes less than a millisecond, as by a primary
        key. Such reads share a connection, where a slow one would delay all others.

        `tenant` names the parameter with the ID of the user whose rows alone the statement sees
        when it is called outside a transaction (on PostgreSQL). With None it sees all rows.

        `is_planned_anew`: PostgreSQL plans each call outside a transaction for the values of its
        parameters. Otherwise it uses one plan for all values.
        """
        self._prepared += 1
        name = f"cc_{self._prepared}"
        return Prepared(
            self._read, name, statement, self._dialect, columns, tenant, by_key, is_planned_anew
        )

    def run_pipeline(self, tenant: Tenant, *statements: BoundStatement) -> list[list[Row]]:
        """Runs independent statements as one transaction and returns the rows of each.

        On PostgreSQL all of them make one trip; `begin` makes one for each and two more. Raises
        Unavailable if the database cannot run it now. Raises ConstraintBroken if it violates a
        constraint of the schema; then nothing was changed.
        """
        scope = self._scope_of(tenant)
        trip = scope + driver_statements(statements)
        rows = self._transact(lambda connection: connection.run_pipeline(trip))
        return converted(statements, rows[len(scope) :])

    def run_two_step_transaction(
        self,
        tenant: Tenant,
        first_step: Sequence[BoundStatement],
        second_step: Callable[[list[list[Row]]], Sequence[BoundStatement]],
        *,
        is_long: bool = False,
    ) -> list[list[Row]]:
        """Runs `first_step`, then the statements that `second_step` returns for its rows.

        All of them are one transaction. On PostgreSQL each of the two steps makes one trip.
        Transactions of several users may be committed together, and `second_step` may be called
        again. If it `is_long`, it is committed alone, so that others do not wait for it. Returns
        the rows of all statements. Raises as `run_pipeline` does, and what `second_step` raises;
        then nothing was changed.
        """
        statements: list[BoundStatement] = []

        def second_trip(rows: list[list[Row]]) -> list[DriverStatement]:
            second = second_step(converted(first_step, rows))
            # May be called again after a group was rolled back.
            statements[:] = [*first_step, *second]
            return driver_statements(second)

        scope = self._scope_of(tenant)
        first_trip = driver_statements(first_step)
        if tenant != EVERYBODY and loop.is_inside() and not self._transactions.is_held:
            with self._grouped.hold():
                job = Job(tenant, scope, first_trip, second_trip)
                rows = self._groups.run(job, is_long=is_long)
            return converted(statements, rows)
        rows = self._transact(
            lambda connection: connection.run_two_step_transaction(
                scope + first_trip, lambda rows: second_trip(rows[len(scope) :])
            )
        )
        return converted(statements, rows[len(scope) :])

    def read_snapshot(self, read: Callable[[ReadStatement], T]) -> T:
        """Returns the result of `read`, whose statements see one state of the database.

        `read` gets a function that runs them, and sees the rows of all users. Writers do not wait.
        Uses a separate connection. Raises Unavailable.
        """

        def run(connection: Any) -> T:
            self._driver.begin_snapshot(connection)
            driver_connection = self._driver.DriverConnection(connection)

            def read_statement(prepared: Prepared, **values: Any) -> list[Row]:
                name, parameters = prepared.name, prepared.parameters(values)
                return prepared.rows(driver_connection.run(name, prepared.sql, parameters))

            return read(read_statement)

        self._require_responding()
        return self._on_new_connection(run)

    def hold(self, name: str) -> Callable[[], None]:
        """Locks `name` for one request, and returns a function that releases it.

        On SQLite, the lock keeps other requests from waiting for this one's transaction. Raises
        Locked if another request does not release it in time; Unavailable.
        """
        if self._file_locks is None:
            return lambda: None
        try:
            release = self._file_locks.acquire(name, _LOCK_SECONDS)
        except OSError as error:
            raise unavailable() from error
        if release is None:
            raise Locked
        return release

    def ping(self) -> None:
        """Raises Unavailable if the database does not respond."""
        try:
            self._ping()
        except self._driver.Error as error:
            raise unavailable() from error

    def listen(self, on_notification: Callable[[], None], closing: Event) -> None:
        """Calls `on_notification` for each `sql_functions.announce`, until `closing` is set.

        Also calls it once at the start. Uses a separate connection. PostgreSQL sends notifications;
        SQLite's file is polled ten times a second. Raises Unavailable if the database does not
        respond.
        """
        self._on_new_connection(
            lambda connection: self._driver.listen(connection, on_notification, closing)
        )

    @property
    def has_log_file(self) -> bool:
        """Whether `truncate_log` has an effect."""
        return bool(self._driver.has_log_file)

    def truncate_log(self) -> bool:
        """Empties SQLite's write-ahead log, which contains deleted rows until then.

        Returns False while another connection prevents it. Raises Unavailable.
        """
        return bool(self._on_new_connection(self._driver.truncate_log))

    def close(self) -> None:
        """Closes every idle connection."""
        self._watchdog.close()
        if self._pipe:
            self._pipe.close()
        self._connections.close()

    def _on_new_connection(self, run: Callable[[Any], T]) -> T:
        try:
            connection = self._connector.raw_connection()
            try:
                return run(connection.dbapi_connection)
            finally:
                connection.invalidate()
        except (DBAPIError, self._driver.Error) as error:
            raise unavailable() from error

    def _transact(self, run: Callable[[DriverConnection], list[list[Row]]]) -> list[list[Row]]:
        self._require_responding()
        with self._transactions.hold():
            try:
                return self._connections.transact(run)
            except self._driver.IntegrityError as error:
                raise ConstraintBroken from error
            except self._driver.Error as error:
                if self._driver.is_passing(error):
                    raise unavailable(self._driver.may_have_committed(error)) from error
                raise

    def _transact_group(
        self, run: Callable[[DriverConnection], list[list[Row]]]
    ) -> list[list[Row]]:
        self._require_responding()
        # PostgreSQL runs one group beside the other transactions. SQLite has one writer.
        slot = self._transactions.hold() if self._driver.has_one_writer else nullcontext()
        try:
            with slot:
                return self._connections.transact(run)
        except self._driver.Error as error:
            if self._driver.may_have_committed(error):
                raise OutcomeUnknown from unavailable(committing=True)
            raise

    def _read(self, statement: TenantStatement, by_key: bool) -> list[Row]:
        self._require_responding()
        if self._pipe and by_key and loop.is_inside():
            return self._read_in_pipe(statement)
        with self._reads.hold():
            settings = self._scope_of(statement.tenant)
            if settings and statement.is_planned_anew:
                settings += self._planning
            return self._connections.read(settings, statement)

    def _read_in_pipe(self, statement: TenantStatement) -> list[Row]:
        try:
            rows: list[Row] = self._pipe.read(statement)
        except DBAPIError as error:
            # No connection could be opened.
            raise unavailable() from error
        except self._driver.Error as error:
            if self._driver.is_passing(error):
                raise unavailable() from error
            raise
        return rows

    def _scope_of(self, tenant: Tenant) -> list[DriverStatement]:
        """Returns the statements that set the tenant for later statements."""
        scope = self._scope
        if scope is None:
            return []
        return [(scope.name, scope.sql, scope.parameters({"tenant": str(tenant)}))]

    def _require_responding(self) -> None:
        if self._watchdog.is_hung:
            raise unavailable()
