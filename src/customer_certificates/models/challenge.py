"""Challenges by which users prove control of hostnames, and their results."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Index, UniqueConstraint, and_, or_
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, child_of, new_id, partial_index


class HostnameChallenge(Base):
    """A challenge to prove control of a hostname by one of three records.

    The records have random parts. `state` is `pending`, `verified` (kept, so that the proof can be
    checked again), `contesting` (another user's challenge is also verified) or `expired`. A worker
    checks it at `next_check_at` (None: never). During a check, this is the time when the worker's
    lease expires. `attempts` is the number of checks. At `expires_at` a pending challenge expires,
    and a contest is decided. `last_result` is JSON: the result of the last check for each method;
    None: there was no check.
    """

    __tablename__ = "hostname_challenges"
    __table_args__ = (
        UniqueConstraint("user_id", "hostname"),
        UniqueConstraint("cname_label"),
        Index(None, "hostname"),
        partial_index(
            "ix_hostname_challenges_contesting", "hostname", where="state = 'contesting'"
        ),
        partial_index(
            "ix_hostname_challenges_next_check_at",
            "next_check_at",
            where="next_check_at IS NOT NULL",
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = new_id()
    user_id: Mapped[int] = child_of("users.id")
    hostname: Mapped[str]
    txt_token: Mapped[str]
    cname_label: Mapped[str]
    http_token: Mapped[str]
    state: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    next_check_at: Mapped[datetime | None]
    attempts: Mapped[int]
    last_checked_at: Mapped[datetime | None]
    last_result: Mapped[str | None]
    resolves_to_edge: Mapped[bool | None]

    @classmethod
    def is_pending(cls, now: Any) -> ColumnElement[bool]:
        """Returns the condition that a challenge is neither done nor expired at `now`."""
        # A list of parameters (IN) cannot be prepared.
        is_open = or_(cls.state == "pending", cls.state == "contesting")
        return and_(is_open, cls.expires_at > now)


class HostnameTransfer(Base):
    """A challenge has transferred a proven name to another user.

    The users may have been deleted.
    """

    __tablename__ = "hostname_transfers"
    __table_args__ = (Index(None, "hostname", "at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = new_id()
    hostname: Mapped[str]
    from_user_id: Mapped[int] = mapped_column(Id)
    to_user_id: Mapped[int] = mapped_column(Id)
    at: Mapped[datetime]
