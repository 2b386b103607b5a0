"""Rate limits, counted in the database for all processes together."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, select
from sqlalchemy.dialects import postgresql

from ..gateways.database import EVERYBODY, Database, Transaction, time_param
from ..gateways.database.prepared import Prepared, Row
from ..models import RateCount
from .batched_deletes import removal_of_oldest, remove_in_batches


class Rate(NamedTuple):
    """At most `limit` of `name` in a window of time, which begins with the first one."""

    name: str
    window: timedelta
    limit: int


class RateCounts:
    """Counts exactly, with any number of concurrent requests.

    A transaction that counts a name waits for others that count it, so always count names in the
    same order.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        has_ended: Any = RateCount.ends_at <= time_param("now")
        self._add = database.prepare(_addition(has_ended), ("name", "number", "ends_at"))
        self._find = database.prepare(
            select(RateCount.number, RateCount.ends_at).where(
                RateCount.name == bindparam("of_name"), ~has_ended
            ),
            tenant=None,
        )
        self._remove = database.prepare(
            removal_of_oldest(RateCount.name, has_ended, RateCount.ends_at)
        )

    def add(self, session: Transaction, rates: Sequence[Rate]) -> int | None:
        """Counts one more for each rate, if the transaction is committed.

        Returns the seconds to wait if a rate is exceeded, otherwise None.
        """
        now = self._now()
        return _delay(rates, session.run_pipeline(*self._additions(rates, now)), now)

    def add_at_once(self, rates: Sequence[Rate]) -> int | None:
        """Calls `add` in its own transaction. Raises Unavailable."""
        now = self._now()
        rows = self._database.run_pipeline(EVERYBODY, *self._additions(rates, now))
        return _delay(rates, rows, now)

    def wait(self, rate: Rate) -> int | None:
        """Returns the seconds until one more may be counted; None: now."""
        now = self._now()
        rows = self._find(of_name=rate.name, now=now)
        return _delay([rate._replace(limit=rate.limit - 1)], [rows], now)

    def purge(self) -> int:
        """Deletes counts of past windows, and returns their number. Raises Unavailable."""
        return remove_in_batches(self._database, self._remove, now=self._now())

    def _additions(
        self, rates: Sequence[Rate], now: datetime
    ) -> list[tuple[Prepared, dict[str, Any]]]:
        return [
            (self._add, {"name": name, "number": 1, "ends_at": now + window, "now": now})
            for name, window, _ in rates
        ]


def _addition(has_ended: Any) -> Any:
    """Adds one to a count; restarts it if its window has passed."""
    insert = postgresql.insert(RateCount)
    return insert.on_conflict_do_update(
        index_elements=[RateCount.name],
        set_={
            "number": case((has_ended, insert.excluded.number), else_=RateCount.number + 1),
            "ends_at": case((has_ended, insert.excluded.ends_at), else_=RateCount.ends_at),
        },
    ).returning(RateCount.number, RateCount.ends_at)


def _delay(rates: Sequence[Rate], results: Sequence[list[Row]], now: datetime) -> int | None:
    delays = [
        (ends_at - now).total_seconds()
        for rate, rows in zip(rates, results, strict=True)
        for number, ends_at in rows
        if number > rate.limit
    ]
    return max(1, int(max(delays)) + 1) if delays else None
