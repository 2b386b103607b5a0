"""The connections to the database: those of the sessions, and those of prepared statements."""

from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import Engine, event, literal, select
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.pool import PoolProxiedConnection as PoolProxied

from .. import loop
from ..metrics import Metrics
from .hang_watchdog import HangWatchdog, has_ended
from .prepared import DriverConnection, DriverStatement, Row, TenantStatement
from .transaction import unavailable

T = TypeVar("T")

# Longer than the server's own limit for a statement (5 s), so the server reports first.
_HANG_SECONDS = 7.0
# To connect takes milliseconds, or seconds if the server does not respond.
_CONNECTING = loop.Threads("connecting", 4)


class Connections:
    """Runs prepared statements on idle connections, under the hang watchdog.

    `engine` has the connections of sessions, which the watchdog covers too. `connector` opens a
    connection at each use.
    """

    def __init__(
        self, driver: ModuleType, engine: Engine, connector: Engine, metrics: Metrics
    ) -> None:
        self._driver = driver
        self._engine = engine
        self._connector = connector
        self._metrics = metrics
        self._idle: deque[DriverConnection] = deque()
        self._is_initialized = False
        self.watchdog = HangWatchdog(_HANG_SECONDS, self.close, self._is_responding)
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "checkin", self._checked_in)

    def transact(self, run: Callable[[DriverConnection], list[list[Row]]]) -> list[list[Row]]:
        """Returns the result of `run`, which runs one transaction. Errors are the driver's."""
        connection = self._idle_connection()
        while connection and has_ended(connection.descriptor):
            self._discard(connection)
            connection = self._idle_connection()
        connection = connection or self._connect()
        self._metrics.transactions.inc()
        try:
            return self._run(connection, run, connection)
        finally:
            self._metrics.transactions.dec()

    def read(self, scope: list[DriverStatement], statement: TenantStatement) -> list[Row]:
        """Returns the rows of `statement`, which `scope` precedes. Errors are the driver's."""
        name, sql, parameters = statement.name, statement.sql, statement.parameters
        while True:
            idle = self._idle_connection()
            connection = idle or self._connect()
            try:
                if not scope:
                    return self._run(connection, connection.run, name, sql, parameters)
                statements = [*scope, (name, sql, parameters)]
                return self._run(connection, connection.run_pipeline, statements)[-1]
            except self._driver.Error as error:
                if not self._driver.is_passing(error):
                    raise
                # An idle connection may have died unnoticed. A read may be repeated.
                if not (idle and self._driver.is_lost(error)) or self.watchdog.is_hung:
                    raise unavailable() from error

    def initialize(self) -> None:
        """Connects the engine in a thread. Raises DBAPIError.

        SQLAlchemy holds a lock while an engine connects for the first time. Two greenlets that wait
        for this lock would block each other.
        """
        if not self._is_initialized:
            _CONNECTING.run(lambda: self._engine.connect().close())
            self._is_initialized = True

    def open(self) -> Any:
        """Returns a new connection of the driver. Raises DBAPIError, or the driver's error."""
        connection = self._connector.raw_connection()
        connection.detach()
        return connection.dbapi_connection

    def of_session(self, connection: PoolProxied) -> DriverConnection:
        """Returns the connection of a session, for prepared statements."""
        info = connection.info
        prepared: DriverConnection | None = info.get("prepared")
        if prepared is None:
            prepared = info["prepared"] = self._driver.DriverConnection(connection.dbapi_connection)
        return prepared

    def close(self) -> None:
        """Closes every idle connection."""
        while self._idle:
            self._discard(self._idle.pop())
        self._engine.dispose()

    def _run(self, connection: DriverConnection, run: Callable[..., T], *arguments: Any) -> T:
        """Returns the result of `run`, under the hang watchdog.

        The connection stays in use after an error from the server. After any other error it may be
        broken or in an undefined state.
        """
        self.watchdog.begin(connection, connection.descriptor)
        is_usable = False
        try:
            result = run(*arguments)
            is_usable = True
        except self._driver.Error as error:
            is_usable = not self._driver.is_lost(error)
            raise
        finally:
            if is_usable:
                self.watchdog.end(connection)
                self._idle.append(connection)
            else:
                self._discard(connection)
        return result

    def _idle_connection(self) -> DriverConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self) -> DriverConnection:
        try:
            opened = _CONNECTING.run(self.open)
        except (DBAPIError, self._driver.Error) as error:
            raise unavailable() from error
        self._metrics.read_connections.inc()
        connection: DriverConnection = self._driver.DriverConnection(opened)
        return connection

    def _discard(self, connection: DriverConnection) -> None:
        self.watchdog.end(connection)
        self._metrics.read_connections.dec()
        connection.close()

    def _checked_out(self, connection: Any, record: Any, _proxy: object) -> None:
        descriptor = self._driver.descriptor(connection)
        if has_ended(descriptor):
            raise InvalidatePoolError
        self._metrics.transactions.inc()
        record.info["counted"] = True
        self.watchdog.begin(record, descriptor)

    def _checked_in(self, _connection: object, record: Any) -> None:
        # A connection that failed to open is checked in without a checkout.
        if record.info.pop("counted", False):
            self._metrics.transactions.dec()
        self.watchdog.end(record)

    def _is_responding(self) -> bool:
        try:
            with self._connector.connect() as connection:
                connection.execute(select(literal(1)))
        except DBAPIError:
            return False
        return True
