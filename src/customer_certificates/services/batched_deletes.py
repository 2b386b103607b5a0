"""Deletes many rows without one long transaction."""

from typing import Any

from sqlalchemy import delete, select

from ..gateways.database import EVERYBODY, Database, int_param
from ..gateways.database.prepared import Prepared

_AT_ONCE = 1000


def removal_of_oldest(key: Any, condition: Any, order: Any) -> Any:
    """Deletes the first `limit` rows of the table of the column `key` that meet the condition."""
    # Two transactions that delete the same rows must not wait for one another.
    oldest = (
        select(key)
        .where(condition)
        .order_by(order)
        .limit(int_param("limit"))
        .with_for_update(skip_locked=True)
    )
    return delete(key.class_).where(key.in_(oldest)).returning(key)


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
