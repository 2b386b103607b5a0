"""A user: whose certificates they are."""

import secrets
import unicodedata
from datetime import UTC, datetime

from sqlalchemy import BigInteger, Identity, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import LONG_AGO, Base, Id, Time

# When nothing will change any more: RFC 5280's own way to say that a certificate has no end.
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


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

    Time changes the list as well: certificates begin and cease to be valid. The list shows what
    held at `statuses_as_of`, and from `statuses_change_at` on that may not be so any more.

    `expiry_thresholds` (JSON, None: the usual ones) says when before a certificate's end the user
    is told of it. `email_verified_at`: when `email` was verified; None: it is not verified, and no
    notice is mailed to it.

    The four counters say how much the user stores (services/quotas/usage.py); each transaction that
    changes that changes them. `quotas` is a JSON object: limits that an operator has set in place
    of the defaults (None: none).
    """

    __tablename__ = "users"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text, unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    certificates_revision: Mapped[bytes] = mapped_column(LargeBinary(16))
    statuses_as_of: Mapped[datetime] = mapped_column(Time, server_default=LONG_AGO)
    statuses_change_at: Mapped[datetime] = mapped_column(Time, server_default=LONG_AGO)
    created_at: Mapped[datetime] = mapped_column(Time)
    expiry_thresholds: Mapped[str | None] = mapped_column(Text)
    email_verified_at: Mapped[datetime | None] = mapped_column(Time)
    certificate_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    hostname_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    version_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    stored_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    quotas: Mapped[str | None] = mapped_column(Text)
