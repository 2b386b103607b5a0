"""The base of all tables: constraint names, and types that differ between databases."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, MappedColumn, mapped_column
from sqlalchemy.types import TypeDecorator


class _NaiveUtc(TypeDecorator[datetime]):
    """A time in UTC. SQLite stores no time zone: a time is stored as UTC and returned as such."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


# The default of times that the service compares with now: the row is due at once.
LONG_AGO = "1970-01-01 00:00:00"
# SQLite assigns IDs only in a column declared INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
Time = DateTime(timezone=True).with_variant(_NaiveUtc(), "sqlite")


class Base(DeclarativeBase):
    """The tables of the service. Constraints are named, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        bool: Boolean,
        bytes: LargeBinary,
        datetime: Time,
        int: Integer,
        str: Text,
    }


def new_id() -> MappedColumn[int]:
    """Returns the column of an ID that the database assigns."""
    return mapped_column(Id, Identity(always=True), primary_key=True)


def child_of(column: str, **options: Any) -> MappedColumn[Any]:
    """Returns a column that references `column`, whose deletion deletes the row."""
    return mapped_column(Id, ForeignKey(column, ondelete="CASCADE"), **options)


def partial_index(
    name: str, *columns: str, where: str, sqlite_where: str | None = None, unique: bool = False
) -> Index:
    """Returns an index of the rows that satisfy the SQL condition `where`."""
    return Index(
        name,
        *columns,
        unique=unique,
        postgresql_where=text(where),
        sqlite_where=text(sqlite_where or where),
    )
