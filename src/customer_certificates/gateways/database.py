"""The database: transactions for what writes, prepared statements for what reads."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Protocol

from sqlalchemy import Engine, NullPool, Select, create_engine, event, literal, make_url, select
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from ..errors import Unavailable
from . import postgresql, sqlite
from .metrics import Metrics

Row = tuple[Any, ...]


class ReadConnection(Protocol):
    """A connection that runs each statement once and remembers how; never in a transaction."""

    def read(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        """The rows. Raises OSError where the connection is no longer of use."""

    def close(self) -> None: ...


class Database:
    """`begin` opens the transaction of one use case; `prepare` makes a select that reads fast.

    Reads and writes go to the same primary server: a replica could answer with the past.
    """

    def __init__(self, url: str, metrics: Metrics, *, threads: int) -> None:
        """`url` is SQLAlchemy's; `threads` is how many requests this process serves at once."""
        self._driver, self._engine = _engine(
            url, pool_size=threads, max_overflow=0, pool_timeout=5, pool_use_lifo=True
        )
        self._metrics = metrics
        self._idle: deque[ReadConnection] = deque()
        self._prepared = 0
        self._ping = self.prepare(select(literal(1)))
        event.listen(self._engine, "checkout", lambda *_: metrics.transactions.inc())
        event.listen(self._engine, "checkin", lambda *_: metrics.transactions.dec())

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """One use case's transaction, committed at the end of the block, or rolled back.

        Raises Unavailable where the database cannot do it now; broken constraints come as
        SQLAlchemy's IntegrityError.
        """
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
        except IntegrityError:
            raise
        except PoolTimeoutError as error:
            raise _unavailable() from error
        except DBAPIError as error:
            if error.connection_invalidated or self._driver.is_passing(error.orig):
                raise _unavailable() from error
            raise

    def prepare(self, statement: Select[*tuple[Any, ...]]) -> Callable[..., list[Row]]:
        """`statement` as a function from its parameters, by name, to its rows.

        It is compiled here, once, and each connection prepares it once. Raises Unavailable where
        the database does not answer.
        """
        dialect: Dialect = self._driver.read_dialect()
        compiled = statement.compile(dialect=dialect)
        self._prepared += 1
        name, sql = f"read_{self._prepared}", str(compiled)
        parameters = [(key, compiled.params[key]) for key in compiled.positiontup or ()]
        converters = [
            (place, convert)
            for place, column in enumerate(statement.selected_columns)
            if (convert := _result_converter(column.type, dialect))
        ]

        def read(**values: Any) -> list[Row]:
            rows = self._read(name, sql, [values.get(key, value) for key, value in parameters])
            return _converted(rows, converters) if converters else rows

        return read

    def ping(self) -> None:
        """Raises Unavailable where the database does not answer."""
        self._ping()

    def close(self) -> None:
        """Closes every connection that is not in use."""
        while self._idle:
            self._discard(self._idle.pop())
        self._engine.dispose()

    def _read(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        while True:
            try:
                connection, fresh = self._idle.pop(), False
            except IndexError:
                connection, fresh = self._connect(), True
            try:
                rows = connection.read(name, sql, parameters)
            except OSError as error:
                self._discard(connection)
                # One that lay idle may have died unnoticed; a read may be asked again.
                if fresh:
                    raise _unavailable() from error
            except BaseException:
                self._discard(connection)
                raise
            else:
                self._idle.append(connection)
                return rows

    def _connect(self) -> ReadConnection:
        try:
            connection: ReadConnection = self._driver.Reader(self._engine)
        except DBAPIError as error:
            raise _unavailable() from error
        self._metrics.read_connections.inc()
        return connection

    def _discard(self, connection: ReadConnection) -> None:
        self._metrics.read_connections.dec()
        connection.close()


def migration_engine(url: str) -> Engine:
    """An engine for `alembic/env.py`: a migration may take longer than any request's statement."""
    _, engine = _engine(url, poolclass=NullPool)
    if engine.dialect.name == "postgresql":

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _record: object) -> None:
            connection.execute("SET statement_timeout = 0; SET lock_timeout = '10s'")
            connection.commit()

    return engine


def _engine(url: str, **options: Any) -> tuple[ModuleType, Engine]:
    parsed = make_url(url)
    driver = postgresql if parsed.get_backend_name() == "postgresql" else sqlite
    engine = create_engine(
        parsed, connect_args=driver.connect_arguments(parsed), hide_parameters=True, **options
    )
    driver.configure(engine)
    return driver, engine


def _unavailable() -> Unavailable:
    return Unavailable("The database does not answer; nothing was changed.", retry_after=1)


def _result_converter(kind: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    convert: Callable[[Any], Any] | None = kind.dialect_impl(dialect).result_processor(
        dialect, None
    )
    return convert


def _converted(rows: list[Row], converters: list[tuple[int, Callable[[Any], Any]]]) -> list[Row]:
    converted = []
    for row in rows:
        values = list(row)
        for place, convert in converters:
            values[place] = convert(values[place])
        converted.append(tuple(values))
    return converted
