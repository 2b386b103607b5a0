"""Stored responses to idempotent requests."""

from datetime import datetime

from sqlalchemy import Index, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id


class IdempotencyRecord(Base):
    """The response to a request with an Idempotency-Key.

    `name` is a hash of the principal, the path and the key. `digest` is a hash of the request that
    nobody can compute without the key. Status 0 is visible only in the request's own transaction.
    `user_id` is the user whose token made the request, and whose quota the row counts for (None: no
    user's token). It is no foreign key: the response to a user's deletion outlives the user.
    """

    __tablename__ = "kept_answers"
    __table_args__ = (Index(None, "kept_at"), Index(None, "user_id", "kept_at"))

    name: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    kept_at: Mapped[datetime]
    user_id: Mapped[int | None] = mapped_column(Id)
    status: Mapped[int] = mapped_column(Integer, server_default="0")
    location: Mapped[str | None]
    tag: Mapped[str | None]
    body: Mapped[bytes | None]
