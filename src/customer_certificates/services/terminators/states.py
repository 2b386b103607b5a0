"""The states of terminators, for monitoring and the console."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, get_args

from sqlalchemy import bindparam, select

from ...gateways.database import Database, int_param, time_param
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import ids_as_json, ids_of
from ...models import PROBE, Event, Terminator
from .feed_cursors import read
from .feed_head import CHANGES, FeedHead, FeedHeads

State = Literal["current", "behind", "failing", "silent"]
Owner = Literal["operator", "user"]
STATES: tuple[State, ...] = get_args(State)
OWNERS: tuple[Owner, ...] = get_args(Owner)

# Agents report once a minute.
_SILENT_AFTER = timedelta(minutes=5)
_BEHIND_AFTER = timedelta(minutes=5)
_READ_AT_ONCE = 1000


class _Position(NamedTuple):
    """A position in the feed."""

    xid: int
    id: int


class TerminatorStates:
    """Determines the states of terminators. An address that a probe has checked is none.

    `silent`: it has not reported for five minutes. `failing`: it reports an error. `behind`: it has
    not received a change that happened five minutes ago. The first of these counts.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        self._heads = FeedHeads(database)
        self._last_change = database.prepare(
            select(Event.xid, Event.id)
            .where(CHANGES, Event.at <= time_param("before"))
            .order_by(Event.xid.desc(), Event.id.desc())
            .limit(1),
            tenant=None,
        )
        columns = select(
            Terminator.id,
            Terminator.user_id,
            Terminator.seen_at,
            Terminator.cursor,
            Terminator.errors != "[]",
        ).where(Terminator.format != PROBE)
        self._page = database.prepare(
            columns.where(Terminator.id > bindparam("after"))
            .order_by(Terminator.id)
            .limit(int_param("limit")),
            tenant=None,
        )
        self._some = database.prepare(columns.where(Terminator.id.in_(ids_of("ids"))), tenant=None)

    def count(self) -> dict[tuple[Owner, State], int]:
        """Returns the number of terminators in each state. Raises Unavailable.

        The owner is `user` if the terminator's token is limited to one user.
        """
        state_of = self._reader()
        counts = Counter[tuple[Owner, State]]()
        after = 0
        while page := self._page(after=after, limit=_READ_AT_ONCE):
            after = page[-1][0]
            for row in page:
                owner: Owner = "operator" if row[1] is None else "user"
                counts[owner, state_of(row)] += 1
        return {(owner, state): counts[owner, state] for owner in OWNERS for state in STATES}

    def of(self, ids: Iterable[int]) -> dict[int, State]:
        """Returns the states of the terminators with these IDs, by ID. Raises Unavailable."""
        state_of = self._reader()
        return {row[0]: state_of(row) for row in self._some(ids=ids_as_json(ids))}

    def _reader(self) -> Callable[[Row], State]:
        """Returns a function that determines the state of a terminator at this time."""
        now, head = self._now(), self._heads.read()
        rows = self._last_change(before=now - _BEHIND_AFTER)
        position = _Position(rows[0][0] or 0, rows[0][1]) if rows else _Position(0, 0)

        def state_of(row: Row) -> State:
            _, _, seen_at, cursor, has_errors = row
            if seen_at < now - _SILENT_AFTER:
                return "silent"
            if has_errors:
                return "failing"
            return "behind" if _is_behind(cursor, head, position, now) else "current"

        return state_of


def _is_behind(text: str | None, head: FeedHead, position: _Position, now: datetime) -> bool:
    # A terminator that reports no cursor does not follow the feed.
    if text is None:
        return False
    cursor = read(text)
    if cursor is None or cursor.after is not None or not head.is_complete_from(cursor, now):
        return True
    return position > (cursor.xid, cursor.id)
