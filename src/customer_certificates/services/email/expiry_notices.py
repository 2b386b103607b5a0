"""Sends expiry notices to the mail server (docs/how-to/expiry-notifications.md)."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ...gateways.database import Database
from ...gateways.smtp import Mailer
from ...models import Certificate, ExpiryNotice, User
from .messages import Subject, address_of, expiry_email
from .queue import MailQueue, Obstacle, Outgoing

# Notices to unverified addresses are held. The owner may have changed the address since.
_UNTIL_VERIFIED = timedelta(hours=6)


# The columns of a Subject.
_SUBJECT = (
    User.id.label("owner_id"),
    User.name,
    User.email,
    Certificate.id.label("certificate_id"),
    ExpiryNotice.version,
    ExpiryNotice.threshold,
    Certificate.hostnames,
    Certificate.not_after,
    Certificate.fingerprint_sha256,
)


class _Notice(NamedTuple):
    is_current: bool
    is_verified: bool
    subject: Subject


class ExpiryNoticeEmails(MailQueue[_Notice]):
    """Sends emails about certificates that are unchanged, to verified addresses only."""

    def __init__(self, database: Database, mailer: Mailer, now: Callable[[], datetime]) -> None:
        super().__init__(
            database,
            mailer,
            now,
            ExpiryNotice.id,
            Certificate.active & (Certificate.version == ExpiryNotice.version),
            User.email_verified_at.is_not(None),
            *_SUBJECT,
        )

    def joined(self, columns: Any) -> Any:
        return columns.join(Certificate, Certificate.id == ExpiryNotice.certificate_id).join(
            User, User.id == Certificate.user_id
        )

    def read(self, columns: Sequence[Any]) -> _Notice:
        is_current, is_verified, *subject = columns
        return _Notice(bool(is_current), bool(is_verified), Subject(*subject))

    def obstacle(self, subject: _Notice) -> Obstacle | None:
        if not subject.is_current:
            return Obstacle("The certificate was replaced or deactivated in the meantime.")
        if not subject.is_verified:
            return Obstacle("The address is not verified.", _UNTIL_VERIFIED)
        return None

    def compose(self, subject: _Notice, now: datetime) -> Outgoing:
        message = expiry_email(subject.subject, self._mailer.sender, now)
        return Outgoing(message, address_of(subject.subject.email))

    def name(self, subject: _Notice) -> str:
        notice = subject.subject
        return f"to user {notice.user_id} about certificate {notice.certificate_id}"
