"""Access to the agent's database and its tables."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Table:
    """Access to one or more tables, for one thread."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._database.execute(statement, values)

    def _run_each(self, statement: str, values: Iterable[object]) -> None:
        self._database.executemany(statement, [(value,) for value in values])

    def _column(self, statement: str, *values: Any) -> list[Any]:
        return [row[0] for row in self._run(statement, *values)]

    def _row(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._run(statement, *values).fetchone()
        return row

    def _value(self, statement: str, *values: Any) -> Any:
        """Returns the first value of the first row, or None if there is no row."""
        row = self._row(statement, *values)
        return row[0] if row else None


def connect(file: Path) -> sqlite3.Connection:
    """Opens the database `file`, and creates missing tables. Raises sqlite3.Error."""
    database = sqlite3.connect(file)
    database.executescript(Path(__file__).with_name("schema.sql").read_text("utf-8"))
    return database
