"""Expiry notices, and the emails that send them."""

from datetime import datetime

from sqlalchemy import Boolean, Integer, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, child_of, new_id, partial_index


class ExpiryNotice(Base):
    """A notice for one version of a certificate and one threshold.

    The threshold is like `30d`, `10%` or `expired`. The key prevents duplicate notices.

    While an email waits, `mail_due` is the time of its next attempt. While a worker sends it,
    `mail_due` is when others may take it. `mail_tries` counts attempts, and `mail_error` is the
    result of the last one. `mailed_at` is None if no email was sent. `mail_held`: the email waits
    until the user's address is verified.
    """

    __tablename__ = "expiry_notices"
    __table_args__ = (
        UniqueConstraint("certificate_id", "version", "threshold"),
        partial_index("ix_expiry_notices_mail_due", "mail_due", where="mail_due IS NOT NULL"),
        partial_index("ix_expiry_notices_mail_held", "user_id", where="mail_held"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = new_id()
    user_id: Mapped[int] = mapped_column(Id)
    certificate_id: Mapped[int] = child_of("certificates.id")
    version: Mapped[int]
    threshold: Mapped[str]
    at: Mapped[datetime]
    mail_due: Mapped[datetime | None]
    mail_tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    mail_error: Mapped[str | None]
    mailed_at: Mapped[datetime | None]
    mail_held: Mapped[bool] = mapped_column(Boolean, server_default=false())
