"""Sessions of the console, and the links that open one."""

from datetime import datetime

from sqlalchemy import Boolean, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, child_of


class ConsoleSession(Base):
    """A browser that signed in to the console.

    The secret of its cookie is not stored, only the SHA-256. `user_id` is the user that signed in,
    None for an operator, whose token is `token_id`: the session ends with the token. `by_password`:
    the user signed in with its password, not with a link. `return_url` is that of the link.
    """

    __tablename__ = "console_sessions"
    __table_args__ = (Index(None, "user_id"), Index(None, "token_id"), Index(None, "expires_at"))

    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[int | None] = child_of("users.id")
    token_id: Mapped[int | None] = child_of("tokens.id")
    by_password: Mapped[bool] = mapped_column(Boolean)
    return_url: Mapped[str | None]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class ConsoleLink(Base):
    """A link that opens a user's console once, until `expires_at`.

    The token in the link is not stored, only its SHA-256. `return_url` is the page of a portal to
    which the console links back.
    """

    __tablename__ = "console_links"
    __table_args__ = (Index(None, "user_id"), Index(None, "expires_at"))

    token_sha256: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[int] = child_of("users.id")
    return_url: Mapped[str | None]
    expires_at: Mapped[datetime]
