"""Pieces of statements that the two databases write differently."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Insert, TableValuedAlias, Text, column
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class size_of(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """How large a text is: in bytes, which PostgreSQL knows without reading it; SQLite counts
    characters."""

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


def items_of(json: ColumnElement[str]) -> TableValuedAlias:
    """A table with a row for each text in a JSON array, in its column `value`."""
    return _items(json).table_valued(column("value", Text))


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


@compiles(likely)
def _likely_on_postgresql(element: likely, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)})"


@compiles(likely, "sqlite")
def _likely_on_sqlite(element: likely, compiler: Any, **options: Any) -> str:
    return _compiled(element, "likely", compiler, options)


@compiles(_items)
def _items_on_postgresql(element: _items, compiler: Any, **options: Any) -> str:
    array = compiler.process(element.clauses, **options)
    return f"json_array_elements_text(CAST({array} AS JSON))"


@compiles(_items, "sqlite")
def _items_on_sqlite(element: _items, compiler: Any, **options: Any) -> str:
    return _compiled(element, "json_each", compiler, options)
