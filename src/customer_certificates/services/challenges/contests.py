"""Contests of a user who is deleted end, and challenges that are over are deleted."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, DateTime, bindparam, delete, or_, select, update
from sqlalchemy.orm import aliased

from ...gateways.database import Database, Transaction
from ...models import HostnameChallenge, HostnameClaim
from ..batched_deletes import remove_in_batches
from ..hostnames.notices import HostnameNotices

# So long a user can see that a challenge has expired.
_KEPT = timedelta(days=30)
_TIME = DateTime(timezone=True)


class Contests:
    """The ends of challenges that no check brings about."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._notices = HostnameNotices(database, now)
        user_id: Any = bindparam("user_id", type_=BigInteger)
        now_: Any = bindparam("now", type_=_TIME)
        contesting = HostnameChallenge.state == "contesting"
        self._incumbents = database.prepare(
            select(HostnameClaim.user_id, HostnameClaim.hostname)
            .join(HostnameChallenge, HostnameChallenge.hostname == HostnameClaim.hostname)
            .where(
                HostnameChallenge.user_id == user_id, contesting, HostnameClaim.user_id != user_id
            )
        )
        mine = select(HostnameClaim.hostname).where(HostnameClaim.user_id == user_id)
        other = aliased(HostnameChallenge)
        # One that is locked is being checked: waiting for it could be a deadlock.
        against = (
            select(other.id)
            .where(other.hostname.in_(mine), other.user_id != user_id, other.state == "contesting")
            .with_for_update(skip_locked=True)
        )
        self._check_now = database.prepare(
            update(HostnameChallenge)
            .where(HostnameChallenge.id.in_(against))
            .values(next_check_at=now_)
        )
        self._remove = database.prepare(_removal())

    def end_with_user(self, session: Transaction, user_id: int) -> None:
        """Ends the contests of a user who is about to be deleted, and still has all claims.

        Users who keep a name are notified. Challenges for names of the user are checked at once.
        """
        with session.across_tenants():
            for other, hostname in session.run(self._incumbents, user_id=user_id):
                reason = "The challenger was deleted."
                self._notices.add(session, other, [hostname], "contest_closed", reason)
            session.run(self._check_now, user_id=user_id, now=self._now())

    def clean(self) -> int:
        """Deletes challenges that have been over for long. Returns how many. Raises Unavailable.

        Their random parts are never used again: each challenge has new ones.
        """
        return remove_in_batches(self._database, self._remove, before=self._now() - _KEPT)


def _removal() -> Any:
    """A verified challenge is over when its name is no longer proven by its user."""
    over = aliased(HostnameChallenge)
    is_proven = (
        select(HostnameClaim.hostname)
        .where(
            HostnameClaim.hostname == over.hostname,
            HostnameClaim.user_id == over.user_id,
            or_(HostnameClaim.proof == "challenge", HostnameClaim.proof == "operator"),
        )
        .correlate(over)
        .exists()
    )
    before: Any = bindparam("before", type_=_TIME)
    old = (
        select(over.id)
        .where(
            over.expires_at < before,
            or_(over.last_checked_at.is_(None), over.last_checked_at < before),
            over.state != "contesting",
            or_(over.state != "verified", ~is_proven),
        )
        .order_by(over.id)
        .limit(bindparam("limit", type_=BigInteger))
    )
    return (
        delete(HostnameChallenge)
        .where(HostnameChallenge.id.in_(old))
        .returning(HostnameChallenge.id)
    )
