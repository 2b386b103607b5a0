"""The revision of a user's list: replaced by every change, that of time included.

A user's list shows the statuses that certificates have at `statuses_as_of`, and
`statuses_change_at` is not later than the next instant at which one of them begins or ceases to be
valid. A reader to whom that instant has passed first brings the list up to date, under a new
revision; so what a list shows stays a function of its revision, and the caches stay right.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, and_, bindparam, case, func, select, true, update

from ..gateways.database import Database, Transaction
from ..gateways.prepared import Prepared
from ..models import NEVER, Certificate, User, new_revision
from .callers import KnownUser
from .users import locked_user, user_not_found

_INSTANT = timedelta(microseconds=1)


class Revisions:
    """Reads and replaces users' revisions."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._state = database.prepare(
            select(User.certificates_revision, User.statuses_change_at).where(
                User.id == bindparam("user_id")
            )
        )
        replace = (
            update(User)
            .where(User.id == bindparam("user_id"))
            .values(certificates_revision=bindparam("revision"))
            .returning(User.id)
        )
        self._replace = database.prepare(replace)
        self._replace_with_dates = database.prepare(replace.values(_dates()))

    def current(self, user_id: int, known: KnownUser | None = None) -> bytes:
        """The revision of the list as it is now; `known` is the user's row, where this request has
        read it already. Raises NotFound."""
        if known is not None and known.statuses_change_at > self._now():
            return bytes(known.certificates_revision)
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
        """A new revision; locks the user's row. Raises NotFound."""
        if not session.run(self._replace, user_id=user_id, revision=new_revision()):
            raise user_not_found(user_id)

    def added(
        self, user_id: int, not_before: datetime | None, not_after: datetime | None
    ) -> tuple[Prepared, dict[str, Any]]:
        """The statement that makes a new revision where a certificate with these dates was added.
        It locks the user's row, and gives a row where there is such a user."""
        values = {
            "user_id": user_id,
            "revision": new_revision(),
            "now": self._now(),
            "begin": not_before,
            "end": not_after and _after(not_after),
        }
        return self._replace_with_dates, values

    def _bring_up_to_date(self, user_id: int, now: datetime) -> None:
        with self._database.begin(user_id) as session:
            user = locked_user(session, user_id)
            if user.statuses_change_at <= now:
                as_of = max(user.statuses_as_of, now)
                user.statuses_change_at = _next_change_of_all(session, user_id, as_of)
                user.statuses_as_of = as_of
                user.certificates_revision = new_revision()


def _after(end: datetime) -> datetime:
    """The first instant at which a certificate is valid no more."""
    return min(end, NEVER - _INSTANT) + _INSTANT


def _dates() -> dict[Any, Any]:
    """What a new certificate changes of a user: the time as of which statuses are shown never goes
    back, though the clocks of servers differ; and what comes next is seen from that time."""
    now, begin, end = (
        bindparam(name, type_=DateTime(timezone=True)) for name in ("now", "begin", "end")
    )
    nothing_passed = and_(User.statuses_change_at > now, User.statuses_as_of < now)
    as_of = case((nothing_passed, now), else_=User.statuses_as_of)
    change_at = User.statuses_change_at
    # What ends before it begins never becomes valid: it is expired from its end on.
    is_next = and_(begin > as_of, begin < change_at, func.coalesce(begin < end, true()))
    return {
        User.statuses_as_of: as_of,
        change_at: case(
            (is_next, begin), (and_(end > as_of, end < change_at), end), else_=change_at
        ),
    }


def _next_change_of_all(session: Transaction, user_id: int, now: datetime) -> datetime:
    begins, ends = session.execute(
        select(
            func.min(case((Certificate.not_before > now, Certificate.not_before))),
            func.min(case((Certificate.not_after >= now, Certificate.not_after))),
        ).where(Certificate.user_id == user_id)
    ).one()
    return min(begins or NEVER, _after(ends) if ends else NEVER)
