"""Prepared statements of libpq, as all connections to PostgreSQL send and read them."""

from typing import Any

from psycopg import OperationalError, errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus

from ..prepared import Row

_BINARY = 1
DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
# The session lacks the prepared statement (behind a pooler), or the statement no longer fits the
# schema (after a migration).
OUTDATED = errors.InvalidSqlStatementName | errors.FeatureNotSupported


class Values:
    """Converts parameters and results of one connection."""

    def __init__(self, connection: Any) -> None:
        self._transformer = Transformer(connection)

    def dumped(self, values: list[Any]) -> Any:
        """Returns parameters as libpq sends them. Raises an error for a value that has no type."""
        return self._transformer.dump_sequence(values, [PyFormat.TEXT] * len(values))

    def rows(self, result: Any) -> list[Row]:
        """Returns the rows of a result."""
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)


def send_prepared(libpq: Any, name: bytes, dumped: Any) -> None:
    """Sends a prepared statement with its parameters, and asks for binary results."""
    libpq.send_query_prepared(name, dumped, None, _BINARY)


def connection_lost() -> OperationalError:
    """Returns the error for a closed connection."""
    return OperationalError("the connection to the server was lost")
