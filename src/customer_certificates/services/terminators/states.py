"""Counts terminators by state, for monitoring."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, get_args

from sqlalchemy import bindparam, select

from ...gateways.database import Database, int_param, time_param
from ...models import PROBE, Event, Terminator
from .feed_cursors import read
from .feed_head import CHANGES, FeedHead, FeedHeads

State = Literal["current", "behind", "failing", "silent"]
Owner = Literal["operator", "user"]
STATES: tuple[State, ...] = get_args(State)
OWNERS: tuple[Owner, ...] = get_args(Owner)

# Agents report once a minute.
SILENT_AFTER = timedelta(minutes=5)
_BEHIND_AFTER = timedelta(minutes=5)
_READ_AT_ONCE = 1000


class _Position(NamedTuple):
    """A position in the feed."""

    xid: int
    id: int


class TerminatorStates:
    """Counts terminators by state. An address that a probe has checked is none.

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
        self._page = database.prepare(
            select(
                Terminator.id,
                Terminator.user_id,
                Terminator.seen_at,
                Terminator.cursor,
                Terminator.errors != "[]",
            )
            .where(Terminator.id > bindparam("after"), Terminator.format != PROBE)
            .order_by(Terminator.id)
            .limit(int_param("limit")),
            tenant=None,
        )

    def count(self) -> dict[tuple[Owner, State], int]:
        """Returns the number of terminators in each state. Raises Unavailable.

        The owner is `user` if the terminator's token is limited to one user.
        """
        now, head = self._now(), self._heads.read()
        rows = self._last_change(before=now - _BEHIND_AFTER)
        position = _Position(rows[0][0] or 0, rows[0][1]) if rows else _Position(0, 0)
        counts = Counter[tuple[Owner, State]]()
        after = 0
        while page := self._page(after=after, limit=_READ_AT_ONCE):
            after = page[-1][0]
            for _, user_id, seen_at, cursor, has_errors in page:
                owner: Owner = "operator" if user_id is None else "user"
                if seen_at < now - SILENT_AFTER:
                    counts[owner, "silent"] += 1
                elif has_errors:
                    counts[owner, "failing"] += 1
                elif _is_behind(cursor, head, position, now):
                    counts[owner, "behind"] += 1
                else:
                    counts[owner, "current"] += 1
        return {(owner, state): counts[owner, state] for owner in OWNERS for state in STATES}


def _is_behind(text: str | None, head: FeedHead, position: _Position, now: datetime) -> bool:
    # A terminator that reports no cursor does not follow the feed.
    if text is None:
        return False
    cursor = read(text)
    if cursor is None or cursor.after is not None or not head.is_complete_from(cursor, now):
        return True
    return position > (cursor.xid, cursor.id)
