"""Pieces of statements that the two databases write differently."""

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

# On which channel of PostgreSQL's NOTIFY events are announced.
EVENTS_CHANNEL = "cc_events"
# Any number: it tells our advisory locks from those of other programs.
_ADVISORY_LOCKS = 0x6363_6E73


class size_of(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """How large a text is: in bytes, which PostgreSQL knows without reading it; SQLite counts
    characters."""

    type = BigInteger()
    inherit_cache = True


class bytes_of(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """How many bytes a text or a BLOB has, on both databases; NULL for NULL."""

    type = BigInteger()
    inherit_cache = True


class number_of_items(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """How many items a JSON array in a text has."""

    type = BigInteger()
    inherit_cache = True


class likely(FunctionElement[bool]):  # noqa: N801 - a function of SQL
    """A condition that most rows meet. SQLite, which has no statistics, is then not tempted by an
    index that serves nothing else; PostgreSQL knows how many they are."""

    type = Boolean()
    inherit_cache = True


class _items(FunctionElement[str]):  # noqa: N801 - a function of SQL
    name = "items"
    type = Text()
    inherit_cache = True


def items_of(json: SQLColumnExpression[str]) -> TableValuedAlias:
    """A table with a row for each text in a JSON array, in its column `value`."""
    return _items(json).table_valued(column("value", Text))


def as_json(names: Sequence[str]) -> str:
    """Returns names as a JSON array, which `items_of` takes."""
    return json.encode(names).decode()


def names_of(names: str) -> list[str]:
    """Returns the names in a JSON array."""
    return json.decode(names, type=list[str])


def ids_of(name: str) -> Select[int]:
    """The ids in the parameter `name`, which is what `ids_as_json` gives."""
    items = items_of(bindparam(name, type_=Text))
    return select(items.c.value.cast(BigInteger()))


def ids_as_json(ids: Iterable[int]) -> str:
    """Ids as `ids_of` takes them: JSON, an array of texts."""
    return json.encode([str(one) for one in ids]).decode()


class array_of(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """An aggregate: the texts of all rows as a JSON array; `[]` if there are none."""

    type = Text()
    inherit_cache = True


class this_transaction(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """The number of the transaction that runs the statement; SQLite has none: NULL."""

    type = BigInteger()
    inherit_cache = True


class oldest_transaction(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """The number of the oldest transaction that has not ended. What has a smaller
    `this_transaction` is there to be read, or never will be; SQLite: NULL."""

    type = BigInteger()
    inherit_cache = True


class lineage(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """What changes when a database is another, or was put back to an earlier state, so that it may
    use numbers again which it has used: the cluster, and the line of its history (PostgreSQL)."""

    type = Text()
    inherit_cache = True


class follows(FunctionElement[Any]):  # noqa: N801 - a function of SQL
    """Whether a row with the columns `xid`, `id` comes after the position of the two parameters.
    On SQLite, which has no `xid`, the ids alone say so."""

    # No Boolean: SQLAlchemy would compare it with 1 for SQLite, and no index would serve it.
    type = NullType()
    inherit_cache = True


class announce(FunctionElement[None]):  # noqa: N801 - a function of SQL
    """Wakes whoever listens for events, when the transaction commits; SQLite: nothing."""

    type = NullType()
    inherit_cache = True


class advisory_lock(FunctionElement[None]):  # noqa: N801 - a function of SQL
    """Locks the number given until the transaction ends; SQLite, which has one writer: nothing."""

    type = NullType()
    inherit_cache = True


class from_first_dot(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """What follows in a text from its first dot on, with that; all of it where there is none."""

    type = Text()
    inherit_cache = True


def insert_new(table: Any) -> Any:
    """An insert that leaves out the rows which a unique constraint forbids."""
    # SQLite's compiler knows the clause by the same name.
    statement: Insert = postgresql.insert(table).on_conflict_do_nothing()
    return statement


def _compiled(element: FunctionElement[Any], name: str, compiler: Any, options: Any) -> str:
    return f"{name}({compiler.process(element.clauses, **options)})"


def insert_or_lock(table: Any, key: Any) -> Any:
    """An insert that locks the row which is there already, and changes nothing of it; with
    `returning`, it gives the row either way."""
    return replacing(table, key, (key,))


def replacing(table: Any, key: Any, columns: Sequence[Any], where: Any = None) -> Any:
    """An insert that, where a row with this key is there and `where` admits it, puts the new
    values of `columns` into that."""
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
