"""Terminators, and the certificates that they report."""

from datetime import datetime

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, child_of, new_id

# The `format` of an address that a probe has checked. No agent reports under its name.
PROBE = "probe"


class Terminator(Base):
    """A terminator that has reported, by its own name.

    `instance` is the agent's random ID. `format` is its output format ("nginx"), `cursor` its
    position in the feed, and `errors` a JSON array of its errors.

    `token_id` is the token that first reported under the name. `user_id` is the user to whom that
    token is restricted. The name counts for them. Neither is a foreign key.
    """

    __tablename__ = "terminators"
    __table_args__ = (
        Index(None, "token_id"),
        Index(None, "user_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = new_id()
    name: Mapped[str] = mapped_column(Text, unique=True)
    format: Mapped[str]
    cursor: Mapped[str | None]
    errors: Mapped[str]
    seen_at: Mapped[datetime]
    instance: Mapped[str | None]
    token_id: Mapped[int | None] = mapped_column(Id)
    user_id: Mapped[int | None] = mapped_column(Id)


class Serving(Base):
    """A version of a certificate that a terminator serves since `since`.

    It no longer serves it unless `serves` is true. `verified`: whether a probe was served it; None:
    it was not probed yet.
    """

    __tablename__ = "servings"
    __table_args__ = (Index(None, "certificate_id"),)

    terminator_id: Mapped[int] = child_of("terminators.id", primary_key=True)
    certificate_id: Mapped[int] = child_of("certificates.id", primary_key=True)
    user_id: Mapped[int] = mapped_column(Id)
    version: Mapped[int]
    since: Mapped[datetime]
    serves: Mapped[bool]
    verified: Mapped[bool | None]
