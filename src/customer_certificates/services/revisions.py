"""The revision of a user's list, which every change replaces, including the passage of time.

A user's list shows the statuses of certificates at `statuses_as_of`. `statuses_change_at` is not
later than the next instant at which one of them becomes valid or expires. The first reader after
that instant updates the list, under a new revision. A list's content thus remains a function of its
revision, and the caches stay correct.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from sqlalchemy import and_, bindparam, case, func, select, update

from ..errors import user_not_found
from ..gateways.database import Database, Transaction, time_param
from ..gateways.database.prepared import Prepared
from ..models import NEVER, Certificate, User, new_revision
from .principal import UserSnapshot
from .quotas.usage import RETURNED, Use, added, counters_with_more
from .user_lock import lock_user

_INSTANT = timedelta(microseconds=1)
# The columns with the times at which a certificate's status or servability changes.
DATES = ("not_before", "not_after", "serve_not_before", "serve_not_after")
# The times among these at which something changes, in ascending order; NULL if there are fewer.
_CHANGES = ("change_1", "change_2", "change_3", "change_4")


class Revisions:
    """Reads and replaces users' revisions."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._state = database.prepare(
            select(User.certificates_revision, User.statuses_change_at).where(
                User.id == bindparam("user_id")
            ),
            by_key=True,
        )
        replace = (
            update(User)
            .where(User.id == bindparam("user_id"))
            .values(certificates_revision=bindparam("revision"))
            .returning(User.id)
        )
        self._replace = database.prepare(replace)
        replace_with_dates = replace.values(_dates())
        self._replace_with_dates = database.prepare(replace_with_dates)
        self._replace_and_count = database.prepare(
            replace_with_dates.values(counters_with_more()).returning(*RETURNED)
        )

    def current(self, user_id: int, snapshot: UserSnapshot | None = None) -> bytes:
        """Returns the current revision of the list.

        `snapshot` is the user's row, if this request has already read it. Raises NotFound.
        """
        if snapshot is not None and snapshot.statuses_change_at > self._now():
            return bytes(snapshot.certificates_revision)
        while True:
            rows = self._state(user_id=user_id)
            if not rows:
                raise user_not_found(user_id)
            revision, change_at = rows[0]
            now = self._now()
            if change_at > now:
                return bytes(revision)
            self._bring_up_to_date(user_id, now)

    def replace(self, session: Transaction, user_id: int) -> None:
        """Stores a new revision, which locks the user's row. Raises NotFound."""
        if not session.run(self._replace, user_id=user_id, revision=new_revision()):
            raise user_not_found(user_id)

    def added(
        self, user_id: int, content: Mapping[str, Any], increase: Use | None = None
    ) -> tuple[Prepared, dict[str, Any]]:
        """Returns the statement for a new revision after a certificate with these DATES was added.

        It locks the user's row, and returns a row if the user exists. With `increase`, it adds to
        the user's counters. The row is then the user's id, and the columns for usage.require_room.
        """
        begin, end, serve_begin, serve_end = (content[name] for name in DATES)
        changes = [begin, end and _after(end), serve_begin, serve_end and _after(serve_end)]
        if begin and end and begin > end:
            # It never becomes valid, and counts as expired from its end on.
            changes = [changes[1]]
        instants = sorted({change for change in changes if change})
        values = {
            "user_id": user_id,
            "revision": new_revision(),
            "now": self._now(),
            **dict(zip_longest(_CHANGES, instants)),
        }
        if increase is not None:
            return self._replace_and_count, values | added(increase)
        return self._replace_with_dates, values

    def _bring_up_to_date(self, user_id: int, now: datetime) -> None:
        with self._database.begin(user_id) as session:
            user = lock_user(session, user_id)
            if user.statuses_change_at <= now:
                as_of = max(user.statuses_as_of, now)
                user.statuses_change_at = _next_change_of_all(session, user_id, as_of)
                user.statuses_as_of = as_of
                user.certificates_revision = new_revision()


def _after(end: datetime) -> datetime:
    """Returns the first instant after a certificate's expiry."""
    return min(end, NEVER - _INSTANT) + _INSTANT


def _dates() -> dict[Any, Any]:
    """Returns the user's columns that a new certificate changes.

    `statuses_as_of` never decreases, though the clocks of servers differ, and the next change is
    computed from it.
    """
    now, *changes = (time_param(name) for name in ("now", *_CHANGES))
    nothing_passed = and_(User.statuses_change_at > now, User.statuses_as_of < now)
    as_of = case((nothing_passed, now), else_=User.statuses_as_of)
    change_at = User.statuses_change_at
    are_next = [(and_(change > as_of, change < change_at), change) for change in changes]
    return {User.statuses_as_of: as_of, change_at: case(*are_next, else_=change_at)}


def _next_change_of_all(session: Transaction, user_id: int, now: datetime) -> datetime:
    begins = (Certificate.not_before, Certificate.serve_not_before)
    ends = (Certificate.not_after, Certificate.serve_not_after)
    first, second, *expiries = session.execute(
        select(
            *(func.min(case((column > now, column))) for column in begins),
            *(func.min(case((column >= now, column))) for column in ends),
        ).where(Certificate.user_id == user_id)
    ).one()
    return min(
        first or NEVER,
        second or NEVER,
        *(_after(expiry) if expiry else NEVER for expiry in expiries),
    )
