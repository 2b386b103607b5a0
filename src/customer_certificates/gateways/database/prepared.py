"""Statements that SQLAlchemy compiles once and each connection prepares once."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

from sqlalchemy import Select, UpdateBase
from sqlalchemy.engine.interfaces import Dialect

Row = tuple[Any, ...]
# The name under which a statement is prepared, its text, its parameters.
DriverStatement = tuple[str, str, list[Any]]
# The tenant of a statement: a user's ID, or all users.
Tenant = int | Literal["*"]
EVERYBODY: Literal["*"] = "*"
SqlStatement = Select[*tuple[Any, ...]] | UpdateBase
Converter = Callable[[Any], Any]


# Returns the statements of the second trip for the rows of the first one.
SecondTrip = Callable[[list[list[Row]]], list[DriverStatement]]


class TenantStatement:
    """A bound statement with its tenant, which is required."""

    __slots__ = ("is_planned_anew", "name", "parameters", "sql", "tenant")

    def __init__(
        self,
        tenant: Tenant,
        name: str,
        sql: str,
        parameters: list[Any],
        *,
        is_planned_anew: bool = False,
    ) -> None:
        if tenant != EVERYBODY and not isinstance(tenant, int):
            raise TypeError("A statement needs a tenant: the ID of a user, or EVERYBODY.")
        self.tenant = tenant
        self.name = name
        self.sql = sql
        self.parameters = parameters
        self.is_planned_anew = is_planned_anew


# Runs a statement alone. The last argument says whether it may share a batch with others.
Read = Callable[[TenantStatement, bool], list[Row]]


class DriverConnection(Protocol):
    """Runs prepared statements on one connection. Errors are the driver's."""

    descriptor: int | None

    def run(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        """Returns the rows of a statement. It is prepared at its first use under `name`."""

    def run_pipeline(self, statements: list[DriverStatement]) -> list[list[Row]]:
        """Returns the rows of each statement (name, text, parameters).

        Either all of them are committed, or none.
        """

    def run_two_step_transaction(
        self, first_trip: list[DriverStatement], second_trip: SecondTrip
    ) -> list[list[Row]]:
        """Returns the rows of `first_trip` and of the statements from `second_trip`.

        All of them are one transaction.
        """

    def begin(self, tenant: Tenant) -> None:
        """Begins a transaction that sees only the rows of `tenant`."""

    def close(self) -> None:
        """Closes the connection."""


class _Compiled(NamedTuple):
    """A statement's text with its parameters and converters.

    Each parameter has a name, a default and a converter. Columns whose type converts values have a
    position and a converter.
    """

    sql: str
    parameters: Sequence[tuple[str, Any, Converter | None]]
    converters: Sequence[tuple[int, Converter]]


class Prepared:
    """A statement that is compiled at its first use, and prepared once per connection.

    A process never uses most of its statements. To compile all of them would double the start time.

    A call with parameters by name returns the rows: a read outside any transaction, which may be
    sent twice if a connection breaks. Within a transaction, `Transaction.run` runs it.
    """

    def __init__(
        self,
        read: Read,
        name: str,
        statement: SqlStatement,
        dialect: Dialect,
        columns: Sequence[str] | None,
        tenant: str | None,
        by_key: bool,
        is_planned_anew: bool = False,
    ) -> None:
        """`tenant` names the parameter with the user's ID.

        None: the statement concerns all users. `by_key`: it always takes less than a millisecond.
        `is_planned_anew`: its best plan depends on the values of its parameters.
        """
        self.name = name
        self._read = read
        self._statement = statement
        self._dialect = dialect
        self._columns = columns
        self._tenant = tenant
        self._by_key = by_key
        self._is_planned_anew = is_planned_anew

    @cached_property
    def _compiled(self) -> _Compiled:
        dialect = self._dialect
        compiled: Any = self._statement.compile(dialect=dialect, column_keys=self._columns)
        parameters = [
            (key, compiled.params.get(key), _binder(compiled.binds[key].type, dialect))
            for key in compiled.positiontup
        ]
        converters = [
            (place, convert)
            for place, column in enumerate(self._statement.exported_columns)
            if (convert := column.type.dialect_impl(dialect).result_processor(dialect, None))
        ]
        return _Compiled(str(compiled), parameters, converters)

    @property
    def sql(self) -> str:
        """Returns the statement's text for the driver."""
        return self._compiled.sql

    def __call__(self, **values: Any) -> list[Row]:
        tenant = values[self._tenant] if self._tenant else EVERYBODY
        statement = TenantStatement(
            tenant,
            self.name,
            self.sql,
            self.parameters(values),
            is_planned_anew=self._is_planned_anew,
        )
        return self.rows(self._read(statement, self._by_key))

    def parameters(self, values: dict[str, Any]) -> list[Any]:
        """Returns `values` in the statement's order, converted for the driver."""
        return [
            bind(values.get(key, default)) if bind else values.get(key, default)
            for key, default, bind in self._compiled.parameters
        ]

    def rows(self, rows: list[Row]) -> list[Row]:
        """Returns the driver's rows, converted to the models' types."""
        converters = self._compiled.converters
        return [_converted(row, converters) for row in rows] if converters else rows


# A statement, and its parameters by name.
BoundStatement = tuple[Prepared, dict[str, Any]]


def driver_statements(statements: Sequence[BoundStatement]) -> list[DriverStatement]:
    """Returns the statements as a driver's connection runs them."""
    return [
        (prepared.name, prepared.sql, prepared.parameters(values))
        for prepared, values in statements
    ]


def converted(statements: Sequence[BoundStatement], rows: list[list[Row]]) -> list[list[Row]]:
    """Returns the driver's rows of each statement, converted to the models' types."""
    return [prepared.rows(given) for (prepared, _), given in zip(statements, rows, strict=True)]


def _converted(row: Row, converters: Sequence[tuple[int, Converter]]) -> Row:
    values = list(row)
    for place, convert in converters:
        values[place] = convert(values[place])
    return tuple(values)


def _binder(kind: Any, dialect: Dialect) -> Converter | None:
    binder: Converter | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return binder
