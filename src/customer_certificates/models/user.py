"""Users, the owners of certificates."""

import secrets
import unicodedata
from datetime import UTC, datetime

from sqlalchemy import BigInteger, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import LONG_AGO, Base, Time, new_id

# The time of no further change: RFC 5280 uses it for certificates without expiry.
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def email_key(email: str) -> str:
    """Returns an email address normalized for comparison.

    Case is folded, and Unicode is normalized.
    """
    # Unicode's canonical caseless matching (D145): decomposed first, then folded.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", email).casefold())


def new_revision() -> bytes:
    """Returns 128 random bits, unique for each state of a list.

    The value is random, not counted: a restored or failed-over database would reuse numbers.
    """
    return secrets.token_bytes(16)


class User(Base):
    """A user; `certificates_revision` identifies the state of the user's list.

    Each transaction that changes the list of certificates replaces it. The lock on this row puts
    the user's writes in order.

    Time changes the list as well: certificates become valid and expire. The list shows the state at
    `statuses_as_of`, which may be outdated from `statuses_change_at` on.

    `expiry_thresholds` (JSON, None: the defaults) says when to notify the user before a certificate
    expires. `email_verified_at` is when `email` was verified. None: it is not verified, and no
    notice is sent to it.

    The four counters say how much the user stores (services/quotas/usage.py). Each transaction that
    stores or deletes data updates them. `quotas` is a JSON object of limits that an operator has
    set instead of the defaults (None: none).

    `external_id` is the user's id in another system (None: none). `labels` is a JSON object.
    Triggers copy it to UserLabel.
    """

    __tablename__ = "users"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = new_id()
    name: Mapped[str]
    email: Mapped[str]
    email_key: Mapped[str] = mapped_column(Text, unique=True)
    password_hash: Mapped[str]
    certificates_revision: Mapped[bytes] = mapped_column(LargeBinary(16))
    statuses_as_of: Mapped[datetime] = mapped_column(Time, server_default=LONG_AGO)
    statuses_change_at: Mapped[datetime] = mapped_column(Time, server_default=LONG_AGO)
    created_at: Mapped[datetime]
    expiry_thresholds: Mapped[str | None]
    email_verified_at: Mapped[datetime | None]
    certificate_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    hostname_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    version_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    stored_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    quotas: Mapped[str | None]
    external_id: Mapped[str | None] = mapped_column(Text, unique=True)
    labels: Mapped[str] = mapped_column(Text, server_default="{}")
