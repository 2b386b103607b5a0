"""A user: whose certificates they are."""

import secrets
import unicodedata
from datetime import datetime

from sqlalchemy import Identity, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time


def email_key(email: str) -> str:
    """The form in which two e-mail addresses are compared: without case, in one Unicode form."""
    # Unicode's canonical caseless matching (D145): decomposed first, then folded.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", email).casefold())


def new_revision() -> bytes:
    """A value that no state of any list has had: 128 random bits.

    Random and not counted, because a database that is restored or failed over reuses numbers.
    """
    return secrets.token_bytes(16)


class User(Base):
    """`certificates_revision` names the state of the user's list of certificates.

    It is replaced in the transaction of any change that the list shows, and the lock on this row
    puts the user's writes in order.
    """

    __tablename__ = "users"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text, unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    certificates_revision: Mapped[bytes] = mapped_column(LargeBinary(16))
    created_at: Mapped[datetime] = mapped_column(Time)
