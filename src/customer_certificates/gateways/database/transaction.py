"""The session of one use case, and the errors of a transaction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection as PoolProxied

from ...errors import Unavailable
from .prepared import (
    EVERYBODY,
    BoundStatement,
    DriverConnection,
    Prepared,
    Row,
    Tenant,
    converted,
    driver_statements,
)


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
        driver_connection: Callable[[PoolProxied], DriverConnection],
        scope: Prepared | None,
    ) -> None:
        """`scope` is the statement that sets the tenant. None: there is no row-level security."""
        super().__init__(
            engine, expire_on_commit=False, execution_options={"synchronize_session": False}
        )
        self._driver = driver
        self._driver_connection = driver_connection
        self._scope = scope
        self._tenant: Tenant = EVERYBODY

    def enter(self, tenant: Tenant) -> None:
        """Begins the transaction for the tenant."""
        self._tenant = tenant
        self._prepared_connection().begin(tenant)

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
        connection = self._prepared_connection()
        rows = connection.run(prepared.name, prepared.sql, prepared.parameters(values))
        return prepared.rows(rows)

    def run_pipeline(self, *statements: BoundStatement) -> list[list[Row]]:
        """Returns the rows of each of several independent statements.

        On PostgreSQL all of them make one trip to the server. Raises ConstraintBroken if a
        statement violates a constraint of the schema; the transaction cannot continue then.
        """
        try:
            rows = self._prepared_connection().run_pipeline(driver_statements(statements))
        except self._driver.IntegrityError as error:
            raise ConstraintBroken from error
        return converted(statements, rows)

    def run_if_free(self, prepared: Prepared, **values: Any) -> list[Row]:
        """Like `run`. Raises Locked if another transaction holds a required lock for too long."""
        try:
            return self.run(prepared, **values)
        except self._driver.Error as error:
            if self._driver.is_lock_timeout(error):
                raise Locked from error
            raise

    def _prepared_connection(self) -> DriverConnection:
        return self._driver_connection(self.connection().connection)


def unavailable(committing: bool = False) -> Unavailable:
    """Returns the error for a database that does not respond."""
    outcome = "the change may have been committed" if committing else "nothing was changed"
    return Unavailable(f"The database does not respond; {outcome}.", retry_after=1)
