"""SQL expressions that the two databases write differently."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import json
from sqlalchemy import (
    BigInteger,
    Boolean,
    Insert,
    Select,
    SQLColumnExpression,
    TableValuedAlias,
    Text,
    bindparam,
    column,
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


class size_of(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """The size of a text.

    PostgreSQL returns bytes, which it knows without reading the text. SQLite returns characters.
    """

    type = BigInteger()
    inherit_cache = True


class bytes_of(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """The number of bytes of a text or a BLOB; NULL for NULL."""

    type = BigInteger()
    inherit_cache = True


class number_of_items(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """The number of items of a JSON array in a text."""

    type = BigInteger()
    inherit_cache = True


class likely(FunctionElement[bool]):  # noqa: N801 - a function of SQL
    """A condition that most rows meet.

    SQLite has no statistics, so this keeps it from choosing an index that serves nothing else.
    PostgreSQL knows the number of rows.
    """

    type = Boolean()
    inherit_cache = True


class _items(FunctionElement[str]):  # noqa: N801 - a function of SQL
    name = "items"
    type = Text()
    inherit_cache = True


def items_of(json: SQLColumnExpression[str]) -> TableValuedAlias:
    """A table with a row for each text of a JSON array.

    The texts are in its column `value`.
    """
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
    return select(items.c.value.cast(BigInteger()))


def ids_as_json(ids: Iterable[int]) -> str:
    """Returns IDs as a JSON array of texts, for `ids_of`."""
    return json.encode([str(one) for one in ids]).decode()


class array_of(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """An aggregate: the texts of all rows as a JSON array.

    The array is `[]` if there are no rows.
    """

    type = Text()
    inherit_cache = True


class this_transaction(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """The number of the current transaction; on SQLite NULL."""

    type = BigInteger()
    inherit_cache = True


class oldest_transaction(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """The number of the oldest transaction in progress; on SQLite NULL.

    A row with a smaller `this_transaction` is visible, or never will be.
    """

    type = BigInteger()
    inherit_cache = True


class lineage(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """An identifier of the cluster and its timeline (PostgreSQL).

    It changes if the database is replaced or restored to an earlier state, and so may use numbers
    again.
    """

    type = Text()
    inherit_cache = True


class follows(FunctionElement[Any]):  # noqa: N801 - a function of SQL
    """Whether a row's `xid` and `id` come after the given position.

    On SQLite, which has no `xid`, only the IDs count.
    """

    # Not a Boolean: SQLAlchemy would compare it with 1 for SQLite, and no index would apply.
    type = NullType()
    inherit_cache = True


class announce(FunctionElement[None]):  # noqa: N801 - a function of SQL
    """Notifies listeners of events on commit; on SQLite nothing."""

    type = NullType()
    inherit_cache = True


class advisory_lock(FunctionElement[None]):  # noqa: N801 - a function of SQL
    """Locks a number until the transaction ends.

    On SQLite, which has one writer: nothing.
    """

    type = NullType()
    inherit_cache = True


class from_first_dot(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """The part of a text from its first dot on.

    Returns the whole text if it has no dot.
    """

    type = Text()
    inherit_cache = True


def insert_new(table: Any) -> Any:
    """An insert that skips rows which violate a unique constraint."""
    # SQLite's compiler uses the same name for the clause.
    statement: Insert = postgresql.insert(table).on_conflict_do_nothing()
    return statement


def _compiled(element: FunctionElement[Any], name: str, compiler: Any, options: Any) -> str:
    return f"{name}({compiler.process(element.clauses, **options)})"


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


@compiles(size_of)
def _size_on_postgresql(element: size_of, compiler: Any, **options: Any) -> str:
    return _compiled(element, "octet_length", compiler, options)


@compiles(size_of, "sqlite")
def _size_on_sqlite(element: size_of, compiler: Any, **options: Any) -> str:
    return _compiled(element, "length", compiler, options)


@compiles(bytes_of)
def _bytes_on_postgresql(element: bytes_of, compiler: Any, **options: Any) -> str:
    return _compiled(element, "octet_length", compiler, options)


@compiles(bytes_of, "sqlite")
def _bytes_on_sqlite(element: bytes_of, compiler: Any, **options: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"


@compiles(number_of_items)
def _number_on_postgresql(element: number_of_items, compiler: Any, **options: Any) -> str:
    return f"json_array_length(CAST({compiler.process(element.clauses, **options)} AS JSON))"


@compiles(number_of_items, "sqlite")
def _number_on_sqlite(element: number_of_items, compiler: Any, **options: Any) -> str:
    return _compiled(element, "json_array_length", compiler, options)


@compiles(likely)
def _likely_on_postgresql(element: likely, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)})"


@compiles(likely, "sqlite")
def _likely_on_sqlite(element: likely, compiler: Any, **options: Any) -> str:
    return _compiled(element, "likely", compiler, options)


@compiles(this_transaction)
def _this_on_postgresql(_element: this_transaction, _compiler: Any, **_options: Any) -> str:
    return "CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)"


@compiles(oldest_transaction)
def _oldest_on_postgresql(_element: oldest_transaction, _compiler: Any, **_options: Any) -> str:
    return "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)"


@compiles(announce)
def _announce_on_postgresql(_element: announce, _compiler: Any, **_options: Any) -> str:
    return f"pg_notify('{EVENTS_CHANNEL}', '')"


@compiles(advisory_lock)
def _lock_on_postgresql(element: advisory_lock, compiler: Any, **options: Any) -> str:
    number = compiler.process(element.clauses, **options)
    return f"pg_advisory_xact_lock({_ADVISORY_LOCKS}, CAST({number} AS INTEGER))"


@compiles(lineage)
def _lineage_on_postgresql(_element: lineage, _compiler: Any, **_options: Any) -> str:
    return (
        "(SELECT system_identifier FROM pg_control_system())"
        " || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
    )


@compiles(follows)
def _follows_on_postgresql(element: follows, compiler: Any, **options: Any) -> str:
    xid, own_id, after_xid, after_id = (compiler.process(one, **options) for one in element.clauses)
    return f"({xid}, {own_id}) > ({after_xid}, {after_id})"


@compiles(follows, "sqlite")
def _follows_on_sqlite(element: follows, compiler: Any, **options: Any) -> str:
    xid, own_id, _, after_id = element.clauses
    return (
        f"({compiler.process(xid, **options)} IS NULL"
        f" AND {compiler.process(own_id, **options)} > {compiler.process(after_id, **options)})"
    )


@compiles(lineage, "sqlite")
@compiles(this_transaction, "sqlite")
@compiles(oldest_transaction, "sqlite")
@compiles(announce, "sqlite")
@compiles(advisory_lock, "sqlite")
def _null_on_sqlite(_element: FunctionElement[Any], _compiler: Any, **_options: Any) -> str:
    return "NULL"


@compiles(from_first_dot)
def _dot_on_postgresql(element: from_first_dot, compiler: Any, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    return f"substr({text}, strpos({text}, '.'))"


@compiles(from_first_dot, "sqlite")
def _dot_on_sqlite(element: from_first_dot, compiler: Any, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    return f"substr({text}, instr({text}, '.'))"


@compiles(array_of)
def _array_on_postgresql(element: array_of, compiler: Any, **options: Any) -> str:
    return f"COALESCE({_compiled(element, 'json_agg', compiler, options)}::text, '[]')"


@compiles(array_of, "sqlite")
def _array_on_sqlite(element: array_of, compiler: Any, **options: Any) -> str:
    return _compiled(element, "json_group_array", compiler, options)


@compiles(_items)
def _items_on_postgresql(element: _items, compiler: Any, **options: Any) -> str:
    array = compiler.process(element.clauses, **options)
    return f"json_array_elements_text(CAST({array} AS JSON))"


@compiles(_items, "sqlite")
def _items_on_sqlite(element: _items, compiler: Any, **options: Any) -> str:
    return _compiled(element, "json_each", compiler, options)
