"""API tokens."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Index, LargeBinary, and_, false
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, child_of, new_id


class Token(Base):
    """An API token.

    The token itself is not stored: `secret_sha256` identifies it. `user_id` is its user, None for
    operators and terminators. `scopes` are separated by spaces. `user_ids` and `hostnames` (JSON
    arrays, None: all) restrict a terminator. A revoked token keeps its row, so that its holder gets
    a specific error. `by_password`: created with the user's password, whose change revokes it.
    """

    __tablename__ = "tokens"
    __table_args__ = (Index(None, "user_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = new_id()
    kind: Mapped[str]
    user_id: Mapped[int | None] = child_of("users.id")
    name: Mapped[str]
    scopes: Mapped[str]
    user_ids: Mapped[str | None]
    hostnames: Mapped[str | None]
    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    by_password: Mapped[bool] = mapped_column(Boolean, server_default=false())

    @classmethod
    def is_valid(cls, now: Any) -> ColumnElement[bool]:
        """Returns the condition that a token is neither revoked nor expired at `now`."""
        return and_(cls.revoked_at.is_(None), cls.expires_at > now)
