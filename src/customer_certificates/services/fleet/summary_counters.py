"""Adds the changes of certificates to the counters of the summary, and recounts them."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, literal, select
from sqlalchemy.dialects import postgresql

from ...gateways.database import EVERYBODY, Database, Transaction, int_param
from ...gateways.database.database import ReadStatement
from ...gateways.database.prepared import Prepared, Row
from ...gateways.database.sql_functions import free_advisory_lock, replacing
from ...models import Certificate, ServiceState, SummaryChange, SummaryDates, SummaryValue
from .summary_buckets import DATES, DIMENSIONS, dates, value

# Not the hash of a hostname: those are locked by other statements with the same kind of number.
_LOCK = -1
_AT_ONCE = 5000
# The worker's other jobs wait meanwhile.
_MOST_IN_A_RUN = 100_000
_READ_AT_ONCE = 10_000
_STATEMENTS_AT_ONCE = 500
_RECOUNTED = "summary recounted"
_INSTANT = timedelta(microseconds=1)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

# The table, and the key of a row in it.
_Counter = tuple[int, Row]


class _Statements(NamedTuple):
    """The statements of a table of counters, and the columns of its key."""

    add: Prepared
    remove_zero: Prepared
    all: Prepared
    names: tuple[str, ...]


class SummaryCounters:
    """Adds changes to the counters.

    A read sums counters and changes (summary.py), so it is exact at any time.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._has_changes = database.prepare(select(SummaryChange.id).limit(1), tenant=None)
        self._lock = database.prepare(select(free_advisory_lock(literal(_LOCK))), tenant=None)
        self._take = database.prepare(_take(), tenant=None)
        # In the order in which every transaction locks the rows.
        self._tables = (
            _statements(database, SummaryDates, DATES),
            _statements(database, SummaryValue, ("dimension", "value")),
        )
        self._certificates = database.prepare(_page(Certificate, literal(1)), tenant=None)
        self._changes = database.prepare(_page(SummaryChange, -SummaryChange.amount), tenant=None)
        self._recounted = database.prepare(
            select(ServiceState.since).where(ServiceState.name == literal(_RECOUNTED)), tenant=None
        )
        self._set_recounted = database.prepare(_set_recounted(), ("name", "since"))

    def fold(self) -> int:
        """Adds changes to the counters, and returns their number. Raises Unavailable.

        Leaves them to another worker if one is doing the same. The next run adds those that are too
        many for one.
        """
        number = 0
        while number < _MOST_IN_A_RUN and self._has_changes():
            with self._database.begin(EVERYBODY) as session:
                ((is_free,),) = session.run(self._lock)
                rows = session.run(self._take) if is_free else []
                totals = Counter[_Counter]()
                for amount, *counters in rows:
                    _count(totals, counters, amount)
                self._add(session, totals)
            number += len(rows)
            if not rows:
                break
        return number

    def recount(self) -> int:
        """Corrects the counters, and returns how many were wrong. Raises Unavailable.

        They become wrong only if something other than the service changes rows. Uploads and workers
        may go on: the difference between certificates and counters at one instant is added later.
        """
        seen, totals = self._database.read_snapshot(self._difference)
        if not totals:
            return 0
        with self._database.begin(EVERYBODY) as session:
            # Another recount may have made the same corrections since.
            now = max(self._now(), seen + _INSTANT)
            values = {"name": _RECOUNTED, "since": now, "seen": seen}
            if not session.run(self._set_recounted, **values):
                return 0
            self._add(session, totals)
        return len(totals)

    def _difference(self, read: ReadStatement) -> tuple[datetime, Counter[_Counter]]:
        """Returns the time of the last recount, and what the counters lack."""
        rows = read(self._recounted)
        totals = Counter[_Counter]()
        for statement in (self._certificates, self._changes):
            for _, amount, *counters in _all_rows(read, statement):
                _count(totals, counters, amount)
        for table, statements in enumerate(self._tables):
            for *key, number in read(statements.all):
                totals[table, tuple(key)] -= number
        return rows[0][0] if rows else _NEVER, Counter({k: n for k, n in totals.items() if n})

    def _add(self, session: Transaction, totals: Counter[_Counter]) -> None:
        """Adds to the counters, and deletes those that become zero."""
        # All transactions lock the rows in this order, so they cannot deadlock.
        keys = sorted(key for key, number in totals.items() if number)
        for start in range(0, len(keys), _STATEMENTS_AT_ONCE):
            some = keys[start : start + _STATEMENTS_AT_ONCE]
            adding = [
                (self._tables[table].add, self._values(table, key, totals[table, key]))
                for table, key in some
            ]
            results = session.run_pipeline(*adding)
            zero = [
                (self._tables[table].remove_zero, self._values(table, key))
                for (table, key), ((number,),) in zip(some, results, strict=True)
                if not number
            ]
            if zero:
                session.run_pipeline(*zero)

    def _values(self, table: int, key: Row, number: int = 0) -> dict[str, Any]:
        return {**dict(zip(self._tables[table].names, key, strict=True)), "number": number}


def _counters_of(source: Any) -> list[Any]:
    return [*dates(source), *(value(source, name).label(name) for name in DIMENSIONS)]


def _count(totals: Counter[_Counter], counters: list[Any], amount: int) -> None:
    """Adds `amount` to the counters of a row, which has the columns `_counters_of`."""
    key, values = tuple(counters[: len(DATES)]), counters[len(DATES) :]
    totals[0, key] += amount
    for dimension, its_value in zip(DIMENSIONS, values, strict=True):
        totals[1, (dimension, its_value)] += amount


def _all_rows(read: ReadStatement, statement: Prepared) -> Iterator[Row]:
    """Yields the rows of a statement that pages by its first column."""
    after = 0
    while rows := read(statement, after=after):
        yield from rows
        after = rows[-1][0]


def _take() -> Any:
    """Deletes the oldest changes, and returns the amount and the counters of each."""
    oldest = select(SummaryChange.id).order_by(SummaryChange.id).limit(_AT_ONCE)
    return (
        delete(SummaryChange)
        .where(SummaryChange.id.in_(oldest))
        .returning(SummaryChange.amount, *_counters_of(SummaryChange))
    )


def _page(source: Any, amount: Any) -> Any:
    """Selects the id, the amount and the counters of rows after an id."""
    return (
        select(source.id, amount.label("amount"), *_counters_of(source))
        .where(source.id > int_param("after"))
        .order_by(source.id)
        .limit(_READ_AT_ONCE)
    )


def _set_recounted() -> Any:
    """Stores the time of a recount, unless another one has been stored since `seen`."""
    is_as_seen: Any = ServiceState.since == bindparam("seen", type_=ServiceState.since.type)
    stored = replacing(ServiceState, ServiceState.name, (ServiceState.since,), is_as_seen)
    return stored.returning(ServiceState.name)


def _statements(database: Database, table: Any, names: tuple[str, ...]) -> _Statements:
    key = [getattr(table, name) for name in names]
    insert = postgresql.insert(table)
    add = insert.on_conflict_do_update(
        index_elements=key, set_={"number": table.number + insert.excluded.number}
    ).returning(table.number)
    is_key = [column == bindparam(column.key, type_=column.type) for column in key]
    return _Statements(
        database.prepare(add, (*names, "number")),
        database.prepare(delete(table).where(table.number == literal(0), *is_key)),
        database.prepare(select(*key, table.number), tenant=None),
        names,
    )
