"""Deletes many rows without one long transaction."""

from typing import Any

from ..gateways.database import EVERYBODY, Database
from ..gateways.database.prepared import Prepared

_AT_ONCE = 1000


def remove_in_batches(database: Database, statement: Prepared, **values: Any) -> int:
    """Runs a DELETE … RETURNING in batches of a thousand rows, and returns their number.

    Each batch is its own transaction. `statement` takes `values`, and the largest number of rows as
    `limit`. Raises Unavailable.
    """
    number = 0
    while True:
        with database.begin(EVERYBODY) as session:
            removed = len(session.run(statement, **values, limit=_AT_ONCE))
        number += removed
        if removed < _AT_ONCE:
            return number
