"""Sends expiry notices to the mail server (docs/how-to/expiry-notifications.md)."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ...gateways.database import Database
from ...gateways.smtp import Mailer
from ...models import Certificate, ExpiryNotice, User
from .messages import Subject, address_of, letter
from .queue import MailQueue, Obstacle, Outgoing

# Notices to unverified addresses are held. The owner may have changed the address since.
_UNTIL_VERIFIED = timedelta(hours=6)


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

    def joined(self, shown: Any) -> Any:
        """Joins the certificate and its owner."""
        return shown.join(Certificate, Certificate.id == ExpiryNotice.certificate_id).join(
            User, User.id == Certificate.user_id
        )

    def read(self, columns: Sequence[Any]) -> _Notice:
        """Returns the notice in a row's columns."""
        is_current, is_verified, *subject = columns
        return _Notice(bool(is_current), bool(is_verified), Subject(*subject))

    def obstacle(self, subject: _Notice) -> Obstacle | None:
        """Returns why the email is outdated, or must wait."""
        if not subject.is_current:
            return Obstacle("The certificate was replaced or deactivated in the meantime.")
        if not subject.is_verified:
            return Obstacle("The address is not verified.", _UNTIL_VERIFIED)
        return None

    def compose(self, subject: _Notice, now: datetime) -> Outgoing:
        """Returns the email to the certificate's owner."""
        return Outgoing(
            letter(subject.subject, self._mailer.sender, now), address_of(subject.subject.email)
        )

    def name(self, subject: _Notice) -> str:
        """Returns the user and the certificate for the log."""
        about = subject.subject
        return f"to user {about.user_id} about certificate {about.certificate_id}"
