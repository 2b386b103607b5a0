"""Closes contests of deleted users, and deletes old challenges."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import aliased

from ...gateways.database import Database, Transaction, int_param, time_param
from ...models import HostnameChallenge, HostnameClaim
from ..batched_deletes import remove_in_batches
from ..hostnames.notices import HostnameNotices

# How long a user can see an expired challenge.
_KEPT = timedelta(days=30)


class Contests:
    """Ends challenges in all cases that no check handles."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._notices = HostnameNotices(database, now)
        self._remove = database.prepare(_removal())

    def end_with_user(self, session: Transaction, user_id: int) -> None:
        """Closes the contests of a user before the user and the claims are deleted.

        Users who keep a hostname are notified. Challenges for hostnames of the user are checked at
        once.
        """
        incumbents = (
            select(HostnameClaim.user_id, HostnameClaim.hostname)
            .join(HostnameChallenge, HostnameChallenge.hostname == HostnameClaim.hostname)
            .where(
                HostnameChallenge.user_id == user_id,
                HostnameChallenge.state == "contesting",
                HostnameClaim.user_id != user_id,
            )
        )
        own = select(HostnameClaim.hostname).where(HostnameClaim.user_id == user_id)
        other = aliased(HostnameChallenge)
        # A locked challenge is being checked; waiting for it could deadlock.
        against = (
            select(other.id)
            .where(other.hostname.in_(own), other.user_id != user_id, other.state == "contesting")
            .with_for_update(skip_locked=True)
        )
        with session.across_tenants():
            for other_id, hostname in session.execute(incumbents).all():
                reason = "The challenger was deleted."
                self._notices.add(session, other_id, [hostname], "contest_closed", reason)
            session.execute(
                update(HostnameChallenge)
                .where(HostnameChallenge.id.in_(against))
                .values(next_check_at=self._now())
            )

    def purge(self) -> int:
        """Deletes challenges that ended long ago, and returns their number. Raises Unavailable.

        Their random parts are never reused: each challenge has new ones.
        """
        return remove_in_batches(self._database, self._remove, before=self._now() - _KEPT)


def _removal() -> Any:
    """Deletes ended challenges. Verified ones have ended if their user lost the hostname."""
    ended = aliased(HostnameChallenge)
    is_proven = (
        select(HostnameClaim.hostname)
        .where(
            HostnameClaim.hostname == ended.hostname,
            HostnameClaim.user_id == ended.user_id,
            or_(HostnameClaim.proof == "challenge", HostnameClaim.proof == "operator"),
        )
        .correlate(ended)
        .exists()
    )
    before = time_param("before")
    old = (
        select(ended.id)
        .where(
            ended.expires_at < before,
            or_(ended.last_checked_at.is_(None), ended.last_checked_at < before),
            ended.state != "contesting",
            or_(ended.state != "verified", ~is_proven),
        )
        .order_by(ended.id)
        .limit(int_param("limit"))
    )
    return (
        delete(HostnameChallenge)
        .where(HostnameChallenge.id.in_(old))
        .returning(HostnameChallenge.id)
    )
