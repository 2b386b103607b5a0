"""SQL expressions that the two databases write differently, or that several services share."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from msgspec import json
from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    Insert,
    Integer,
    Select,
    SQLColumnExpression,
    TableValuedAlias,
    Text,
    bindparam,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

# The channel of PostgreSQL's NOTIFY for events.
EVENTS_CHANNEL = "cc_events"
# An arbitrary number that separates our advisory locks from those of other programs.
_ADVISORY_LOCKS = 0x6363_6E73
_ARGUMENT = re.compile(r"\{(\d)\}")
T = TypeVar("T")


class _Function(FunctionElement[T]):
    """A function of SQL: its text for each database, with {0} for the first argument."""

    on_postgresql: ClassVar[str]
    on_sqlite: ClassVar[str] = "NULL"

    def __init_subclass__(cls, **options: Any) -> None:
        # SQLAlchemy reads this attribute of each class, and does not inherit it.
        cls.inherit_cache = True  # pyrefly: ignore[instance-var-assign]
        super().__init_subclass__(**options)


@compiles(_Function)
def _compiled(element: _Function[Any], compiler: Any, **options: Any) -> str:
    is_sqlite = compiler.dialect.name == "sqlite"
    text = element.on_sqlite if is_sqlite else element.on_postgresql
    # An argument that the text does not mention must not be compiled, or it becomes a parameter.
    arguments = list(element.clauses)
    return _ARGUMENT.sub(lambda at: compiler.process(arguments[int(at[1])], **options), text)


class size_of(_Function[int]):  # noqa: N801 - a function of SQL
    """The size of a text.

    PostgreSQL returns bytes, which it knows without reading the text. SQLite returns characters.
    """

    type = BigInteger()
    on_postgresql = "octet_length({0})"
    on_sqlite = "length({0})"


class bytes_of(_Function[int]):  # noqa: N801 - a function of SQL
    """The number of bytes of a text or a BLOB; NULL for NULL."""

    type = BigInteger()
    on_postgresql = "octet_length({0})"
    on_sqlite = "length(CAST({0} AS BLOB))"


class days_between(_Function[float]):  # noqa: N801 - a function of SQL
    """The days from one time to another, with fractions; NULL if one is NULL."""

    type = Float()
    on_postgresql = "(EXTRACT(EPOCH FROM ({1} - {0})) / 86400)"
    on_sqlite = "(julianday({1}) - julianday({0}))"


class number_of_items(_Function[int]):  # noqa: N801 - a function of SQL
    """The number of items of a JSON array in a text."""

    type = BigInteger()
    on_postgresql = "json_array_length(CAST({0} AS JSON))"
    on_sqlite = "json_array_length({0})"


class likely(_Function[bool]):  # noqa: N801 - a function of SQL
    """A condition that most rows meet.

    SQLite has no statistics, so this keeps it from choosing an index that serves nothing else.
    PostgreSQL knows the number of rows.
    """

    type = Boolean()
    on_postgresql = "({0})"
    on_sqlite = "likely({0})"


class _items(_Function[str]):  # noqa: N801 - a function of SQL
    name = "items"
    type = Text()
    on_postgresql = "json_array_elements_text(CAST({0} AS JSON))"
    on_sqlite = "json_each({0})"


class array_of(_Function[str]):  # noqa: N801 - a function of SQL
    """An aggregate: the texts of all rows as a JSON array. Without rows it is `[]`."""

    type = Text()
    on_postgresql = "COALESCE(json_agg({0})::text, '[]')"
    on_sqlite = "json_group_array({0})"


class this_transaction(_Function[int]):  # noqa: N801 - a function of SQL
    """The number of the current transaction; on SQLite NULL."""

    type = BigInteger()
    on_postgresql = "CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)"


class oldest_transaction(_Function[int]):  # noqa: N801 - a function of SQL
    """The number of the oldest transaction in progress; on SQLite NULL.

    A row with a smaller `this_transaction` is visible, or never will be.
    """

    type = BigInteger()
    on_postgresql = "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)"


class lineage(_Function[str]):  # noqa: N801 - a function of SQL
    """An identifier of the cluster and its timeline; on SQLite NULL.

    It changes if the database is replaced or restored to an earlier state, and so may use numbers
    again.
    """

    type = Text()
    on_postgresql = (
        "(SELECT system_identifier FROM pg_control_system())"
        " || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
    )


class follows(_Function[Any]):  # noqa: N801 - a function of SQL
    """Whether a row's `xid` and `id` come after the given position.

    On SQLite, which has no `xid`, only the IDs count.
    """

    # Not a Boolean: SQLAlchemy would compare it with 1 for SQLite, and no index would apply.
    type = NullType()
    on_postgresql = "({0}, {1}) > ({2}, {3})"
    on_sqlite = "({0} IS NULL AND {1} > {3})"


class is_among(_Function[Any]):  # noqa: N801 - a function of SQL
    """A condition: the first text is one of the second, a JSON array of a few texts.

    PostgreSQL then looks each of them up in an index, also if row-level security makes reading many
    rows slow.
    """

    # SQLAlchemy would compare a Boolean with 1 on SQLite, which then uses no index.
    type = NullType()
    on_postgresql = "{0} = ANY (ARRAY(SELECT json_array_elements_text(CAST({1} AS JSON))))"
    on_sqlite = "{0} IN (SELECT value FROM json_each({1}))"


class announce(_Function[None]):  # noqa: N801 - a function of SQL
    """Notifies listeners of events on commit; on SQLite nothing."""

    type = NullType()
    on_postgresql = f"pg_notify('{EVENTS_CHANNEL}', '')"


class advisory_lock(_Function[None]):  # noqa: N801 - a function of SQL
    """Locks a number until the transaction ends. On SQLite, which has one writer: nothing."""

    type = NullType()
    on_postgresql = f"pg_advisory_xact_lock({_ADVISORY_LOCKS}, CAST({{0}} AS INTEGER))"


class free_advisory_lock(_Function[bool]):  # noqa: N801 - a function of SQL
    """Locks a number until the transaction ends, and returns whether it was free.

    On SQLite, which has one writer, it always is.
    """

    type = Boolean()
    on_postgresql = f"pg_try_advisory_xact_lock({_ADVISORY_LOCKS}, CAST({{0}} AS INTEGER))"
    on_sqlite = "1"


class seconds_of(_Function[int]):  # noqa: N801 - a function of SQL
    """The whole seconds of a time since 1970."""

    type = BigInteger()
    on_postgresql = "CAST(FLOOR(EXTRACT(EPOCH FROM {0})) AS BIGINT)"
    on_sqlite = "CAST(strftime('%s', {0}) AS INTEGER)"


class from_first_dot(_Function[str]):  # noqa: N801 - a function of SQL
    """The part of a text from its first dot on. Returns the whole text if it has no dot."""

    type = Text()
    on_postgresql = "substr({0}, strpos({0}, '.'))"
    on_sqlite = "substr({0}, instr({0}, '.'))"


def items_of(json: SQLColumnExpression[str]) -> TableValuedAlias:
    """A table with a row for each text of a JSON array, in its column `value`."""
    return _items(json).table_valued(column("value", Text))


def as_json(names: Sequence[str]) -> str:
    """Returns names as a JSON array for `items_of`."""
    return json.encode(names).decode()


def names_of(names: str) -> list[str]:
    """Returns the names in a JSON array."""
    return json.decode(names, type=list[str])


def ids_of(name: str) -> Select[int]:
    """The IDs in the parameter `name`, a result of `ids_as_json`."""
    items = items_of(bindparam(name, type_=Text))
    # DISTINCT keeps PostgreSQL from merging the cast into a condition on a table with row-level
    # security. The cast may fail, so the condition would not use an index.
    return select(items.c.value.cast(BigInteger())).distinct()


def ids_as_json(ids: Iterable[int]) -> str:
    """Returns IDs as a JSON array of texts, for `ids_of`."""
    return json.encode([str(number) for number in ids]).decode()


def count_up_to(most: int, *conditions: Any, correlated: Any = ()) -> Any:
    """Returns the number of rows that meet the conditions, at most `most`.

    `correlated` are tables of the outer statement.
    """
    rows = select(literal_column("1")).where(*conditions)
    # A literal, so that PostgreSQL plans for few rows.
    limited = rows.limit(literal_column(str(most), Integer)).correlate(*correlated).subquery()
    return select(func.count()).select_from(limited).scalar_subquery()


def insert_new(table: Any) -> Any:
    """An insert that skips rows which violate a unique constraint."""
    # SQLite's compiler uses the same name for the clause.
    statement: Insert = postgresql.insert(table).on_conflict_do_nothing()
    return statement


def insert_or_lock(table: Any, key: Any) -> Any:
    """An insert that locks the existing row, and does not change it.

    With `returning`, it returns the row in either case.
    """
    return replacing(table, key, (key,))


def replacing(table: Any, key: Any, columns: Sequence[Any], where: Any = None) -> Any:
    """An insert that updates `columns` of the existing row with its key.

    It updates only rows that satisfy `where`.
    """
    statement = postgresql.insert(table)
    return statement.on_conflict_do_update(
        index_elements=[key],
        set_={column.key: statement.excluded[column.key] for column in columns},
        where=where,
    )
