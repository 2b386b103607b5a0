"""Answers that are kept for requests which may be repeated."""

from datetime import datetime

from sqlalchemy import Index, Integer, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time


class IdempotencyRecord(Base):
    """What a request with an Idempotency-Key was answered.

    `name` is a hash of who asked, the path and the key, `digest` a hash of what was sent that
    nobody can compute who does not know the key. Status 0 is seen by the request's own
    transaction alone. `user_id` is the user whose token asked, whom the row counts for (None: no
    user's token). It refers to no row: the answer to a user's deletion outlives the user.
    """

    __tablename__ = "kept_answers"
    __table_args__ = (Index(None, "kept_at"), Index(None, "user_id", "kept_at"))

    name: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    kept_at: Mapped[datetime] = mapped_column(Time)
    user_id: Mapped[int | None] = mapped_column(Id)
    status: Mapped[int] = mapped_column(Integer, server_default="0")
    location: Mapped[str | None] = mapped_column(Text)
    tag: Mapped[str | None] = mapped_column(Text)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
