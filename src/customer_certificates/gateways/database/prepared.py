"""Statements that SQLAlchemy compiles once and every connection prepares once."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

from sqlalchemy import Select, UpdateBase
from sqlalchemy.engine.interfaces import Dialect

Row = tuple[Any, ...]
# A statement on its way: the name to prepare it under, its text, its parameters.
SentStatement = tuple[str, str, list[Any]]
# Whose rows a statement is about: a user's, or those of all where no user asks.
Tenant = int | Literal["*"]
EVERYBODY: Literal["*"] = "*"
SqlStatement = Select[*tuple[Any, ...]] | UpdateBase
Converter = Callable[[Any], Any]


class IdentifiedStatement:
    """A statement on its way, with whose rows it may see: there is none without."""

    __slots__ = ("name", "parameters", "sql", "tenant")

    def __init__(self, tenant: Tenant, name: str, sql: str, parameters: list[Any]) -> None:
        if tenant != EVERYBODY and not isinstance(tenant, int):
            raise TypeError("A statement needs an identity: the id of a user, or EVERYBODY.")
        self.tenant = tenant
        self.name = name
        self.sql = sql
        self.parameters = parameters


# Runs a statement by itself; the last one says whether it may be sent with those of others.
Read = Callable[[IdentifiedStatement, bool], list[Row]]


class DriverConnection(Protocol):
    """Runs prepared statements on one connection. Errors are the driver's."""

    descriptor: int | None

    def run(self, name: str, sql: str, parameters: list[Any]) -> list[Row]:
        """The rows of a statement, which is prepared at its first use under `name`."""

    def run_pipeline(self, statements: list[SentStatement]) -> list[list[Row]]:
        """The rows of each statement (name, text, parameters); all of them are done, or none."""

    def run_two_step_transaction(
        self, first: list[SentStatement], then: Callable[[list[list[Row]]], list[SentStatement]]
    ) -> list[list[Row]]:
        """The rows of `first`, and of what `then` makes of them; all of them one transaction."""

    def begin(self, tenant: Tenant) -> None:
        """Begins a transaction in which the rows of `tenant` are to be seen, and no others."""

    def close(self) -> None:
        """Closes the connection."""


class _Compiled(NamedTuple):
    """A statement's text; for each parameter its name, its default and its converter; for columns
    whose type converts values, their places and converters."""

    sql: str
    parameters: Sequence[tuple[str, Any, Converter | None]]
    converters: Sequence[tuple[int, Converter]]


class Prepared:
    """A statement that is compiled at its first use, and that each connection prepares once.

    A process never uses most of its statements, and a start that compiled them all would take twice
    as long.

    Called with its parameters by name, it gives its rows: a read outside any transaction, which
    may be sent twice where a connection breaks. Within a transaction, `Transaction.run` runs it.
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
    ) -> None:
        """`tenant` names the parameter that is the user's id; None: it is about all users.
        `by_key`: it always takes less than a millisecond."""
        self.name = name
        self._read = read
        self._statement = statement
        self._dialect = dialect
        self._columns = columns
        self._tenant = tenant
        self._by_key = by_key

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
        """The statement's text, as the driver takes it."""
        return self._compiled.sql

    def __call__(self, **values: Any) -> list[Row]:
        tenant = values[self._tenant] if self._tenant else EVERYBODY
        sent = IdentifiedStatement(tenant, self.name, self.sql, self.parameters(values))
        return self.rows(self._read(sent, self._by_key))

    def parameters(self, values: dict[str, Any]) -> list[Any]:
        """`values` in the statement's order, as the driver takes them."""
        return [
            bind(values.get(key, default)) if bind else values.get(key, default)
            for key, default, bind in self._compiled.parameters
        ]

    def rows(self, rows: list[Row]) -> list[Row]:
        """What the driver gave, as the models' types have it."""
        converters = self._compiled.converters
        return [_converted(row, converters) for row in rows] if converters else rows


def _converted(row: Row, converters: Sequence[tuple[int, Converter]]) -> Row:
    values = list(row)
    for place, convert in converters:
        values[place] = convert(values[place])
    return tuple(values)


def _binder(kind: Any, dialect: Dialect) -> Converter | None:
    binder: Converter | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return binder
