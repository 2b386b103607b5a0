"""The database: transactions for what writes, prepared statements for what must be fast."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Protocol

from sqlalchemy import (
    Engine,
    NullPool,
    Select,
    UpdateBase,
    create_engine,
    event,
    literal,
    make_url,
    select,
)
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection as PoolProxied

from ..errors import Unavailable
from . import postgresql, sqlite
from .metrics import Metrics
from .watch import Watch

Row = tuple[Any, ...]
Statement = Select[*tuple[Any, ...]] | UpdateBase
Converter = Callable[[Any], Any]

# More than the server itself allows a statement (5 s): it has the first word.
_HANG_SECONDS = 7.0


class Statements(Protocol):
    """Runs prepared statements on one connection. Errors are the driver's."""

    descriptor: int | None

    def run(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        """The rows of a statement, which is prepared at its first use under `name`."""

    def require_begun(self) -> None:
        """Begins a transaction where the driver leaves that to the first statement it sees."""

    def close(self) -> None:
        """Closes the connection."""


class Prepared:
    """A statement, compiled once, that each connection prepares once.

    Called with its parameters by name, it gives its rows: a read outside any transaction, which
    may be sent twice where a connection breaks. Within a transaction, `Transaction.run` runs it.
    """

    def __init__(
        self,
        read: Callable[[str, str, list[Any]], list[Row]],
        name: str,
        statement: Statement,
        dialect: Dialect,
        columns: Sequence[str] | None,
    ) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        self.name = name
        self.sql = str(compiled)
        self._read = read
        self._parameters = [
            (key, compiled.params.get(key), _binder(compiled.binds[key].type, dialect))
            for key in compiled.positiontup
        ]
        self._converters = [
            (place, convert)
            for place, column in enumerate(statement.exported_columns)
            if (convert := column.type.dialect_impl(dialect).result_processor(dialect, None))
        ]

    def __call__(self, **values: Any) -> list[Row]:
        return self.rows(self._read(self.name, self.sql, self.parameters(values)))

    def parameters(self, values: dict[str, Any]) -> list[Any]:
        """`values` in the statement's order, as the driver takes them."""
        return [
            bind(values.get(key, default)) if bind else values.get(key, default)
            for key, default, bind in self._parameters
        ]

    def rows(self, rows: list[Row]) -> list[Row]:
        """What the driver gave, as the models' types have it."""
        return [self._converted(row) for row in rows] if self._converters else rows

    def _converted(self, row: Row) -> Row:
        values = list(row)
        for place, convert in self._converters:
            values[place] = convert(values[place])
        return tuple(values)


class Transaction(Session):
    """SQLAlchemy's session of one use case, which can run prepared statements as well."""

    def __init__(self, engine: Engine, statements: Callable[[PoolProxied], Statements]) -> None:
        super().__init__(engine, expire_on_commit=False)
        self._statements = statements

    def run(self, prepared: Prepared, **values: Any) -> list[Row]:
        """The rows of `prepared`, run in this transaction."""
        statements = self._statements(self.connection().connection)
        rows = statements.run(prepared.name, prepared.sql, prepared.parameters(values))
        return prepared.rows(rows)


class Database:
    """`begin` opens the transaction of one use case; `prepare` makes a statement that is fast.

    Reads and writes go to the same primary server: a replica could answer with the past.
    """

    def __init__(self, url: str, metrics: Metrics, *, threads: int) -> None:
        """`url` is SQLAlchemy's; `threads` is how many requests this process serves at once."""
        self._driver, self._engine = _engine(
            url, pool_size=threads, max_overflow=0, pool_timeout=5, pool_use_lifo=True
        )
        _, self._connector = _engine(url, poolclass=NullPool)
        self._metrics = metrics
        self._dialect: Dialect = self._driver.prepared_dialect()
        self._idle: deque[Statements] = deque()
        self._prepared = 0
        self._ping = self.prepare(select(literal(1)))
        self._watch = Watch(_HANG_SECONDS, self._forget_connections, self._answers)
        event.listen(self._engine, "checkout", self._checked_out)
        event.listen(self._engine, "checkin", self._checked_in)

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """One use case's transaction, committed at the end of the block, or rolled back.

        Raises Unavailable where the database cannot do it now; broken constraints come as
        SQLAlchemy's IntegrityError.
        """
        self._require_answering()
        committing = False
        try:
            with Transaction(self._engine, self._statements_of) as session, session.begin():
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

    def prepare(self, statement: Statement, columns: Sequence[str] | None = None) -> Prepared:
        """`statement` made ready for the fast way; `columns` are those that an insert fills."""
        self._prepared += 1
        return Prepared(self._read, f"cc_{self._prepared}", statement, self._dialect, columns)

    def ping(self) -> None:
        """Raises Unavailable where the database does not answer."""
        self._ping()

    def close(self) -> None:
        """Closes every connection that is not in use."""
        self._watch.close()
        self._forget_connections()

    def _read(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        self._require_answering()
        while True:
            try:
                connection, fresh = self._idle.pop(), False
            except IndexError:
                connection, fresh = self._connect(), True
            try:
                self._watch.begin(connection, connection.descriptor)
                rows = connection.run(name, sql, parameters)
            except self._driver.Error as error:
                self._discard(connection)
                if not self._driver.is_passing(error):
                    raise
                # One that lay idle may have died unnoticed; a read may be asked again.
                if fresh or self._watch.hangs:
                    raise _unavailable() from error
            except BaseException:
                self._discard(connection)
                raise
            else:
                self._watch.end(connection)
                self._idle.append(connection)
                return rows

    def _connect(self) -> Statements:
        try:
            connection = self._connector.raw_connection()
        except DBAPIError as error:
            raise _unavailable() from error
        connection.detach()
        self._metrics.read_connections.inc()
        statements: Statements = self._driver.DriverStatements(connection.dbapi_connection)
        return statements

    def _discard(self, connection: Statements) -> None:
        self._watch.end(connection)
        self._metrics.read_connections.dec()
        connection.close()

    def _statements_of(self, connection: PoolProxied) -> Statements:
        statements: Statements | None = connection.info.get("statements")
        if statements is None:
            statements = self._driver.DriverStatements(connection.dbapi_connection)
            connection.info["statements"] = statements
        statements.require_begun()
        return statements

    def _checked_out(self, connection: Any, record: object, _proxy: object) -> None:
        self._metrics.transactions.inc()
        self._watch.begin(record, self._driver.descriptor(connection))

    def _checked_in(self, _connection: object, record: object) -> None:
        self._metrics.transactions.dec()
        self._watch.end(record)

    def _require_answering(self) -> None:
        if self._watch.hangs:
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


def migration_engine(url: str) -> Engine:
    """An engine for `alembic/env.py`: a migration may take longer than any request's statement."""
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


def _binder(kind: Any, dialect: Dialect) -> Converter | None:
    binder: Converter | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return binder


def _unavailable(committing: bool = False) -> Unavailable:
    outcome = "whether it was carried out is not known" if committing else "nothing was changed"
    return Unavailable(f"The database does not answer; {outcome}.", retry_after=1)
