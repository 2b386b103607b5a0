"""The verification of users' email addresses: emails and links."""

from datetime import datetime

from sqlalchemy import Index, Integer, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, child_of, partial_index


class EmailVerification(Base):
    """The verification email to a user's current address.

    At most one email of a user waits. The `mail_…` columns are as in ExpiryNotice.
    """

    __tablename__ = "email_verifications"
    __table_args__ = (
        partial_index("ix_email_verifications_mail_due", "mail_due", where="mail_due IS NOT NULL"),
    )

    user_id: Mapped[int] = child_of("users.id", primary_key=True, autoincrement=False)
    requested_at: Mapped[datetime]
    mail_due: Mapped[datetime | None]
    mail_tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    mail_error: Mapped[str | None]
    mailed_at: Mapped[datetime | None]


class EmailVerificationLink(Base):
    """A link that verifies `email` of a user, until `expires_at`.

    The token in the link is not stored, only its SHA-256.
    """

    __tablename__ = "email_verification_links"
    __table_args__ = (Index(None, "user_id"), Index(None, "expires_at"))

    token_sha256: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[int] = child_of("users.id")
    email: Mapped[str]
    expires_at: Mapped[datetime]
