"""The database: transactions for writes, prepared statements for fast reads."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from threading import Event
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    Engine,
    NullPool,
    column,
    create_engine,
    event,
    literal,
    make_url,
    select,
    table,
)
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection as PoolProxied

from ...errors import Unavailable
from .. import loop
from ..admission.limiter import Slots
from ..files.file_locks import FileLocks
from ..metrics import Metrics
from . import postgresql, sqlite
from .group_commit import Groups, Job, OutcomeUnknown
from .hang_watchdog import HangWatchdog, has_ended
from .prepared import (
    EVERYBODY,
    DriverConnection,
    IdentifiedStatement,
    Prepared,
    Row,
    SentStatement,
    SqlStatement,
    Tenant,
)

T = TypeVar("T")
# A statement, and its parameters by name.
BoundStatement = tuple[Prepared, dict[str, Any]]

# Longer than the server's own limit for a statement (5 s), so the server reports first.
_HANG_SECONDS = 7.0
# To connect takes milliseconds, or seconds if the server does not respond.
_CONNECTING = loop.Threads("connecting", 4)
# The requests of one tenant that may wait for each slot of the tenant.
_WAITING_OF_ONE = 32
# The jobs in all groups; one tenant may have half of them. A group takes 16.
_GROUPED = 32
_GROUPED_WAITING_OF_ONE = 4
# As long as a PostgreSQL session waits for a row (lock_timeout).
_LOCK_SECONDS = 3.0


class ConstraintBroken(Exception):  # noqa: N818
    """A change violates a constraint of the schema; nothing was changed."""


class Locked(Exception):  # noqa: N818
    """Another transaction holds a required lock, and did not end in time."""


class Transaction(Session):
    """SQLAlchemy's session of one use case, which can also run prepared statements."""

    def __init__(
        self,
        engine: Engine,
        driver: ModuleType,
        runner_of: Callable[[PoolProxied], DriverConnection],
        scope: Prepared | None,
    ) -> None:
        """Creates a session.

        `scope` is the statement that sets the tenant (None: there is no row-level security).
        """
        super().__init__(engine, expire_on_commit=False)
        self._driver = driver
        self._runner_of = runner_of
        self._scope = scope
        self._tenant: Tenant = EVERYBODY

    def enter(self, tenant: Tenant) -> None:
        """Begins the transaction for the tenant."""
        self._tenant = tenant
        self._runner_of(self.connection().connection).begin(tenant)

    @contextmanager
    def across_tenants(self) -> Iterator[None]:
        """Statements in the block see the rows of all users (row-level security).

        An exception in the block must end the transaction.
        """
        if self._scope is None or self._tenant == EVERYBODY:
            yield
            return
        self.run(self._scope, tenant=EVERYBODY)
        yield
        self.run(self._scope, tenant=str(self._tenant))

    def run(self, prepared: Prepared, **values: Any) -> list[Row]:
        """Returns the rows of `prepared`, run in this transaction."""
        rows = self._runner().run(prepared.name, prepared.sql, prepared.parameters(values))
        return prepared.rows(rows)

    def run_pipeline(self, *statements: tuple[Prepared, dict[str, Any]]) -> list[list[Row]]:
        """Returns the rows of each of several independent statements.

        On PostgreSQL all of them make one trip to the server. Raises ConstraintBroken if a
        statement violates a constraint of the schema; the transaction cannot continue then.
        """
        sent = [(made.name, made.sql, made.parameters(values)) for made, values in statements]
        try:
            rows = self._runner().run_pipeline(sent)
        except self._driver.IntegrityError as error:
            raise ConstraintBroken from error
        return [made.rows(given) for (made, _), given in zip(statements, rows, strict=True)]

    def run_if_free(self, prepared: Prepared, **values: Any) -> list[Row]:
        """Like `run`.

        Raises Locked if another transaction holds a required lock for too long.
        """
        try:
            return self.run(prepared, **values)
        except self._driver.Error as error:
            if self._driver.is_lock_timeout(error):
                raise Locked from error
            raise

    def _runner(self) -> DriverConnection:
        return self._runner_of(self.connection().connection)


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
        self._driver, self._engine = _engine(
            url, pool_size=threads, max_overflow=0, pool_timeout=5, pool_use_lifo=True
        )
        _, self._connector = _engine(url, poolclass=NullPool)
        self._is_initialized = False
        self._metrics = metrics
        self._dialect: Dialect = self._driver.prepared_dialect()
        self._idle: deque[DriverConnection] = deque()
        self._prepared = 0
        # A row of a table, not a constant: SQLite answers a constant without reading its file.
        version = table("alembic_version", column("version_num"))
        self._ping = self.prepare(select(version.c.version_num), tenant=None, by_key=True)
        scope = self._driver.scope()
        self._scope = None if scope is None else self.prepare(scope, tenant=None)
        writers = 1 if self._driver.has_one_writer else threads
        self._transactions, self._reads, self._grouped = (
            Slots(size, metrics.refused_busy, waiting_per_slot=waiting, may_hang=True)
            for size, waiting in (
                (writers, _WAITING_OF_ONE),
                (threads, _WAITING_OF_ONE),
                (_GROUPED, _GROUPED_WAITING_OF_ONE),
            )
        )
        self._held_names: FileLocks | None = self._driver.held_names(make_url(url))
        self._watch = HangWatchdog(_HANG_SECONDS, self._forget_connections, self._answers)
        self._pipe: Any = None
        bounds: list[BoundStatement] = []
        if self._scope:
            bounds = [(self.prepare(self._driver.short_lock_timeout(), tenant=None), {})]
            self._pipe = self._driver.Pipe(self._raw_connection, self._scope, self._watch)
        self._groups = Groups(self._transact_group, self._transact, _sent(bounds))
        event.listen(self._engine, "checkout", self._checked_out)
        event.listen(self._engine, "checkin", self._checked_in)

    @contextmanager
    def begin(self, tenant: Tenant) -> Iterator[Transaction]:
        """A transaction that commits at the end of the block, or rolls back.

        It sees only the rows of `tenant`, whatever its statements select (on PostgreSQL). Raises
        Unavailable if the database cannot run it now. Violated constraints raise SQLAlchemy's
        IntegrityError.
        """
        self._require_answering()
        committing = False
        try:
            self._initialize()
            with (
                self._transactions.hold(),
                Transaction(self._engine, self._driver, self._runner_of, self._scope) as session,
                session.begin(),
            ):
                session.enter(tenant)
                yield session
                committing = True
        except IntegrityError:
            raise
        except PoolTimeoutError as error:
            raise _unavailable() from error
        except DBAPIError as error:
            if error.connection_invalidated or self._driver.is_passing(error.orig):
                raise _unavailable(committing) from error
            raise
        except self._driver.Error as error:
            if self._driver.is_passing(error):
                raise _unavailable(committing) from error
            raise

    def prepare(
        self,
        statement: SqlStatement,
        columns: Sequence[str] | None = None,
        *,
        tenant: str | None = "user_id",
        by_key: bool = False,
    ) -> Prepared:
        """Returns a prepared statement.

        `columns` are those that an insert fills.

        `by_key`: the statement is a read that always takes less than a millisecond, as by a primary
        key. Such reads share a connection, where a slow one would delay all others.

        `tenant` names the parameter with the ID of the user whose rows alone the statement sees
        when it is called outside a transaction (on PostgreSQL). With None it sees all rows.
        """
        self._prepared += 1
        name = f"cc_{self._prepared}"
        return Prepared(self._read, name, statement, self._dialect, columns, tenant, by_key)

    def run_pipeline(self, tenant: Tenant, *statements: BoundStatement) -> list[list[Row]]:
        """Runs independent statements as one transaction and returns the rows of each.

        On PostgreSQL all of them make one trip; `begin` makes one for each and two more. Raises
        Unavailable if the database cannot run it now. Raises ConstraintBroken if it violates a
        constraint of the schema; then nothing was changed.
        """
        scope = self._scoped(tenant)
        sent = scope + _sent(statements)
        rows = self._transact(lambda connection: connection.run_pipeline(sent))
        return _converted(statements, rows[len(scope) :])

    def run_two_step_transaction(
        self,
        tenant: Tenant,
        first: Sequence[BoundStatement],
        then: Callable[[list[list[Row]]], Sequence[BoundStatement]],
        *,
        is_long: bool = False,
    ) -> list[list[Row]]:
        """Runs `first`, then the statements that `then` returns for its rows.

        All of them are one transaction. On PostgreSQL each of the two steps makes one trip.
        Transactions of several users may be committed together, and `then` may be called again. If
        it `is_long`, it is committed alone, so that others do not wait for it. Returns the rows of
        all statements. Raises as `run_pipeline` does, and what `then` raises; then nothing was
        changed.
        """
        calls: list[BoundStatement] = []

        def rest(rows: list[list[Row]]) -> list[SentStatement]:
            more = then(_converted(first, rows))
            # May be called again after a group was rolled back.
            calls[:] = [*first, *more]
            return _sent(more)

        scope = self._scoped(tenant)
        if tenant != EVERYBODY and loop.is_inside() and not self._transactions.is_held:
            with self._grouped.hold():
                rows = self._groups.run(Job(tenant, scope, _sent(first), rest), is_long=is_long)
            return _converted(calls, rows)
        sent = scope + _sent(first)
        rows = self._transact(
            lambda connection: connection.run_two_step_transaction(
                sent, lambda rows: rest(rows[len(scope) :])
            )
        )
        return _converted(calls, rows[len(scope) :])

    def hold(self, name: str) -> Callable[[], None]:
        """Locks `name` for one request, and returns a function that releases it.

        On SQLite, the lock keeps other requests from waiting for this one's transaction. Raises
        Locked if another request does not release it in time; Unavailable.
        """
        if self._held_names is None:
            return _nothing
        try:
            let_go = self._held_names.acquire(name, _LOCK_SECONDS)
        except OSError as error:
            raise _unavailable() from error
        if let_go is None:
            raise Locked
        return let_go

    def ping(self) -> None:
        """Raises Unavailable if the database does not respond."""
        try:
            self._ping()
        except self._driver.Error as error:
            raise _unavailable() from error

    def listen(self, heard: Callable[[], None], closing: Event) -> None:
        """Calls `heard` for each notification (`sql.announce`), until `closing` is set.

        Also calls it once at the start. Uses a separate connection. PostgreSQL sends notifications;
        SQLite's file is polled ten times a second. Raises Unavailable if the database does not
        respond.
        """
        try:
            connection = self._connector.raw_connection()
            try:
                self._driver.listen(connection.dbapi_connection, heard, closing)
            finally:
                connection.invalidate()
        except (DBAPIError, self._driver.Error) as error:
            raise _unavailable() from error

    @property
    def has_log_file(self) -> bool:
        """Whether `truncate_log` has an effect."""
        return bool(self._driver.has_log_file)

    def truncate_log(self) -> bool:
        """Empties SQLite's write-ahead log, which contains deleted rows until then.

        Returns False while another connection prevents it. Raises Unavailable.
        """
        try:
            connection = self._connector.raw_connection()
            try:
                return bool(self._driver.truncate_log(connection.dbapi_connection))
            finally:
                connection.invalidate()
        except (DBAPIError, self._driver.Error) as error:
            raise _unavailable() from error

    def close(self) -> None:
        """Closes every idle connection."""
        self._watch.close()
        if self._pipe:
            self._pipe.close()
        self._forget_connections()

    def _transact(self, run: Callable[[DriverConnection], list[list[Row]]]) -> list[list[Row]]:
        self._require_answering()
        with self._transactions.hold():
            return self._transact_now(run)

    def _transact_now(self, run: Callable[[DriverConnection], list[list[Row]]]) -> list[list[Row]]:
        try:
            return self._run_transaction(run)
        except self._driver.IntegrityError as error:
            raise ConstraintBroken from error
        except self._driver.Error as error:
            if self._driver.is_passing(error):
                raise _unavailable(self._driver.may_have_committed(error)) from error
            raise

    def _transact_group(
        self, run: Callable[[DriverConnection], list[list[Row]]]
    ) -> list[list[Row]]:
        self._require_answering()
        # PostgreSQL runs one group beside the other transactions. SQLite has one writer.
        slot = self._transactions.hold() if self._driver.has_one_writer else nullcontext()
        try:
            with slot:
                return self._run_transaction(run)
        except self._driver.Error as error:
            if self._driver.may_have_committed(error):
                raise OutcomeUnknown from _unavailable(committing=True)
            raise

    def _run_transaction(
        self, run: Callable[[DriverConnection], list[list[Row]]]
    ) -> list[list[Row]]:
        connection = self._idle_connection()
        while connection and has_ended(connection.descriptor):
            self._discard(connection)
            connection = self._idle_connection()
        connection = connection or self._connect()
        self._metrics.transactions.inc()
        try:
            return self._running(connection, run, connection)
        finally:
            self._metrics.transactions.dec()

    def _read(self, statement: IdentifiedStatement, by_key: bool) -> list[Row]:
        self._require_answering()
        if self._pipe and by_key and loop.is_inside():
            return self._read_in_pipe(statement)
        with self._reads.hold():
            return self._read_alone(statement)

    def _read_in_pipe(self, statement: IdentifiedStatement) -> list[Row]:
        try:
            rows: list[Row] = self._pipe.read(statement)
        except DBAPIError as error:
            # No connection could be opened.
            raise _unavailable() from error
        except self._driver.Error as error:
            if self._driver.is_passing(error):
                raise _unavailable() from error
            raise
        return rows

    def _read_alone(self, statement: IdentifiedStatement) -> list[Row]:
        name, sql, parameters = statement.name, statement.sql, statement.parameters
        scope = self._scoped(statement.tenant)
        while True:
            idle = self._idle_connection()
            connection = idle or self._connect()
            try:
                if not scope:
                    return self._running(connection, connection.run, name, sql, parameters)
                sent = [*scope, (name, sql, parameters)]
                return self._running(connection, connection.run_pipeline, sent)[-1]
            except self._driver.Error as error:
                if not self._driver.is_passing(error):
                    raise
                # An idle connection may have died unnoticed. A read may be repeated.
                if not (idle and self._driver.is_lost(error)) or self._watch.is_hung:
                    raise _unavailable() from error

    def _scoped(self, tenant: Tenant) -> list[tuple[str, str, list[Any]]]:
        """Returns the statements that set the tenant for later statements."""
        scope = self._scope
        if scope is None:
            return []
        return [(scope.name, scope.sql, scope.parameters({"tenant": str(tenant)}))]

    def _running(self, connection: DriverConnection, run: Callable[..., T], *arguments: Any) -> T:
        """Returns the result of `run`, under the hang watchdog.

        The connection stays in use after an error from the server. After any other error it may be
        broken or in an undefined state.
        """
        self._watch.begin(connection, connection.descriptor)
        usable = False
        try:
            given = run(*arguments)
            usable = True
        except self._driver.Error as error:
            usable = not self._driver.is_lost(error)
            raise
        finally:
            if usable:
                self._watch.end(connection)
                self._idle.append(connection)
            else:
                self._discard(connection)
        return given

    def _idle_connection(self) -> DriverConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self) -> DriverConnection:
        try:
            connection = _CONNECTING.run(self._raw_connection)
        except (DBAPIError, self._driver.Error) as error:
            raise _unavailable() from error
        self._metrics.read_connections.inc()
        runner: DriverConnection = self._driver.DriverConnection(connection)
        return runner

    def _initialize(self) -> None:
        """Connects in a thread.

        SQLAlchemy holds a lock while an engine connects for the first time. Two greenlets that wait
        for this lock would block each other. Raises DBAPIError.
        """
        if not self._is_initialized:
            _CONNECTING.run(lambda: self._engine.connect().close())
            self._is_initialized = True

    def _raw_connection(self) -> Any:
        """Returns a new connection of the driver. Raises DBAPIError, or the driver's error."""
        connection = self._connector.raw_connection()
        connection.detach()
        return connection.dbapi_connection

    def _discard(self, connection: DriverConnection) -> None:
        self._watch.end(connection)
        self._metrics.read_connections.dec()
        connection.close()

    def _runner_of(self, connection: PoolProxied) -> DriverConnection:
        runner: DriverConnection | None = connection.info.get("runner")
        if runner is None:
            runner = connection.info["runner"] = self._driver.DriverConnection(
                connection.dbapi_connection
            )
        return runner

    def _checked_out(self, connection: Any, record: Any, _proxy: object) -> None:
        descriptor = self._driver.descriptor(connection)
        if has_ended(descriptor):
            raise InvalidatePoolError
        self._metrics.transactions.inc()
        record.info["counted"] = True
        self._watch.begin(record, descriptor)

    def _checked_in(self, _connection: object, record: Any) -> None:
        # A connection that failed to open is checked in without a checkout.
        if record.info.pop("counted", False):
            self._metrics.transactions.dec()
        self._watch.end(record)

    def _require_answering(self) -> None:
        if self._watch.is_hung:
            raise _unavailable()

    def _forget_connections(self) -> None:
        while self._idle:
            self._discard(self._idle.pop())
        self._engine.dispose()

    def _answers(self) -> bool:
        try:
            with self._connector.connect() as connection:
                connection.execute(select(literal(1)))
        except DBAPIError:
            return False
        return True


def _nothing() -> None:
    """Does nothing: no lock is held."""


def _sent(calls: Sequence[BoundStatement]) -> list[SentStatement]:
    return [(made.name, made.sql, made.parameters(values)) for made, values in calls]


def _converted(calls: Sequence[BoundStatement], rows: list[list[Row]]) -> list[list[Row]]:
    return [made.rows(given) for (made, _), given in zip(calls, rows, strict=True)]


def shown_url(url: str) -> str:
    """Returns the database's URL without passwords and options.

    Options may contain a password.
    """
    parsed = make_url(url)
    place = {name: of for name, of in parsed.query.items() if name in ("host", "port")}
    return URL.create(
        parsed.get_backend_name(),
        parsed.username,
        # In a password that was not escaped, an @ looks like the start of the host.
        host=parsed.host and parsed.host.rpartition("@")[2],
        port=parsed.port,
        database=parsed.database,
        query=place,
    ).render_as_string()


def migration_engine(url: str) -> Engine:
    """Returns an engine for `alembic/env.py`, without statement timeouts."""
    driver, engine = _engine(url, poolclass=NullPool)
    event.listen(engine, "connect", driver.lift_timeouts)
    return engine


def _engine(url: str, **options: Any) -> tuple[ModuleType, Engine]:
    parsed = make_url(url)
    driver = postgresql if parsed.get_backend_name() == "postgresql" else sqlite
    engine = create_engine(
        parsed, connect_args=driver.connect_arguments(parsed), hide_parameters=True, **options
    )
    driver.configure(engine)
    return driver, engine


def _unavailable(committing: bool = False) -> Unavailable:
    outcome = "the change may have been committed" if committing else "nothing was changed"
    return Unavailable(f"The database does not respond; {outcome}.", retry_after=1)
