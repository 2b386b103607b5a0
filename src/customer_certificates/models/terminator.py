"""What serves TLS, and what each has said that it serves."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Identity, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time


class Terminator(Base):
    """One that has reported, by the name that it gave itself. `instance` is the agent's random id.

    `format` is what it writes for ("nginx"), `cursor` how far it has read the feed, `errors` a JSON
    array of what it cannot do.

    `token_id` is the token that first reported under the name, and `user_id` the user to whom alone
    that token is limited. The name counts for them; neither refers to a row that must exist.
    """

    __tablename__ = "terminators"
    __table_args__ = (
        Index(None, "token_id"),
        Index(None, "user_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    format: Mapped[str] = mapped_column(Text)
    cursor: Mapped[str | None] = mapped_column(Text)
    errors: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[datetime] = mapped_column(Time)
    instance: Mapped[str | None] = mapped_column(Text)
    token_id: Mapped[int | None] = mapped_column(Id)
    user_id: Mapped[int | None] = mapped_column(Id)


class Serving(Base):
    """A terminator serves this version of a certificate `since` then; or did, where it `serves` it
    no more. `verified`: whether a probe was served it; None: none has asked yet."""

    __tablename__ = "servings"
    __table_args__ = (Index(None, "certificate_id"),)

    terminator_id: Mapped[int] = mapped_column(
        Id, ForeignKey("terminators.id", ondelete="CASCADE"), primary_key=True
    )
    certificate_id: Mapped[int] = mapped_column(
        Id, ForeignKey("certificates.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(Id)
    version: Mapped[int] = mapped_column(Integer)
    since: Mapped[datetime] = mapped_column(Time)
    serves: Mapped[bool] = mapped_column(Boolean)
    verified: Mapped[bool | None] = mapped_column(Boolean)
