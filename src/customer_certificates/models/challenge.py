"""Challenges by which users prove control of hostnames, and their results."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Index, Integer, Text, UniqueConstraint, and_, or_
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time, child_of, new_id, partial_index


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
            "ix_hostname_challenges_next_check_at",
            "next_check_at",
            where="next_check_at IS NOT NULL",
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = new_id()
    user_id: Mapped[int] = child_of("users.id")
    hostname: Mapped[str] = mapped_column(Text)
    txt_token: Mapped[str] = mapped_column(Text)
    cname_label: Mapped[str] = mapped_column(Text)
    http_token: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Time)
    expires_at: Mapped[datetime] = mapped_column(Time)
    next_check_at: Mapped[datetime | None] = mapped_column(Time)
    attempts: Mapped[int] = mapped_column(Integer)
    last_checked_at: Mapped[datetime | None] = mapped_column(Time)
    last_result: Mapped[str | None] = mapped_column(Text)
    resolves_to_edge: Mapped[bool | None] = mapped_column(Boolean)

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
    hostname: Mapped[str] = mapped_column(Text)
    from_user_id: Mapped[int] = mapped_column(Id)
    to_user_id: Mapped[int] = mapped_column(Id)
    at: Mapped[datetime] = mapped_column(Time)
