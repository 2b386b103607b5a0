"""A token: what a machine or a person shows to be let in."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Text,
    and_,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time


class Token(Base):
    """The secret itself is nowhere: `secret_sha256` is enough to know it again.

    `user_id` is whose it is, None for operators and terminators. `scopes` are words between blanks.
    `user_ids` and `hostnames` (JSON arrays, None: all) are what a terminator is restricted to. One
    that was revoked keeps its row, so that its holder can be told. `by_password`: made with the
    user's password, whose change revokes it.
    """

    __tablename__ = "tokens"
    __table_args__ = (Index(None, "user_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    user_id: Mapped[int | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[str] = mapped_column(Text)
    user_ids: Mapped[str | None] = mapped_column(Text)
    hostnames: Mapped[str | None] = mapped_column(Text)
    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(Time)
    expires_at: Mapped[datetime] = mapped_column(Time)
    last_used_at: Mapped[datetime | None] = mapped_column(Time)
    revoked_at: Mapped[datetime | None] = mapped_column(Time)
    by_password: Mapped[bool] = mapped_column(Boolean, server_default=false())

    @classmethod
    def is_valid(cls, now: Any) -> ColumnElement[bool]:
        """Returns the condition that a token is neither revoked nor expired at `now`."""
        return and_(cls.revoked_at.is_(None), cls.expires_at > now)
