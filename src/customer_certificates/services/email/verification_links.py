"""Sends verification links by email (docs/how-to/expiry-notifications.md)."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import aliased

from ...crypto.link_tokens import digest_of, new_link_token
from ...gateways.database import EVERYBODY, Database, int_param, time_param
from ...gateways.smtp import Mailer
from ...models import EmailVerification, EmailVerificationLink, User
from .messages import address_of, recipient
from .queue import MailQueue, Obstacle, Outgoing

LINK_LIFETIME = timedelta(hours=24)
# The limit of a user's links. An email may have left although its worker died or got no response.
_MOST_LINKS = 3


class _Address(NamedTuple):
    user_id: int
    email: str
    is_verified: bool


class VerificationEmails(MailQueue[_Address]):
    """Creates a link for each attempt, and stores a digest of its token before sending it.

    Only the email contains the token itself.
    """

    def __init__(
        self, database: Database, mailer: Mailer, public_url: str, now: Callable[[], datetime]
    ) -> None:
        """Links begin with `public_url`."""
        super().__init__(
            database,
            mailer,
            now,
            EmailVerification.user_id,
            User.email,
            User.email_verified_at.is_not(None),
            EmailVerification.user_id.label("owner_id"),
        )
        self._public_url = public_url
        # Usually none is due, and a read is cheaper than a claim.
        self._due = database.prepare(
            select(EmailVerification.user_id)
            .where(EmailVerification.mail_due <= time_param("now"))
            .limit(1),
            tenant=None,
        )
        self._add = database.prepare(
            insert(EmailVerificationLink), ("token_sha256", "user_id", "email", "expires_at")
        )
        self._remove_old = database.prepare(_remove_old())
        self._purge = database.prepare(
            delete(EmailVerificationLink).where(
                EmailVerificationLink.expires_at <= time_param("now")
            ),
            tenant=None,
        )

    def run(self) -> int:
        """Sends due emails, and returns how many the server accepted. Raises Unavailable."""
        return self.send() if self._due(now=self._now()) else 0

    def purge(self) -> None:
        """Deletes expired links. Raises Unavailable."""
        self._database.run_pipeline(EVERYBODY, (self._purge, {"now": self._now()}))

    def joined(self, columns: Any) -> Any:
        return columns.join(User, User.id == EmailVerification.user_id)

    def read(self, columns: Sequence[Any]) -> _Address:
        email, is_verified, user_id = columns
        return _Address(user_id, email, bool(is_verified))

    def obstacle(self, subject: _Address) -> Obstacle | None:
        return Obstacle("The address is already verified.") if subject.is_verified else None

    def compose(self, subject: _Address, now: datetime) -> Outgoing:
        token = new_link_token()
        user = {"user_id": subject.user_id}
        link = {
            **user,
            "token_sha256": digest_of(token),
            "email": subject.email,
            "expires_at": now + LINK_LIFETIME,
        }
        self._database.run_pipeline(subject.user_id, (self._remove_old, user), (self._add, link))
        return Outgoing(self._message(subject, token, now), address_of(subject.email))

    def name(self, subject: _Address) -> str:
        return f"to user {subject.user_id} that verifies its address"

    def _message(self, subject: _Address, token: str, now: datetime) -> EmailMessage:
        """Contains nothing of the user but the address.

        The reader may be a stranger, and an attacker could otherwise send text of their own.
        """
        sender = self._mailer.sender
        message = EmailMessage()
        message["From"] = sender
        message["To"] = recipient("", address_of(subject.email))
        message["Subject"] = "Verify your email address"
        message["Date"] = now
        message["Message-ID"] = f"<verify-{digest_of(token).hex()[:32]}@{sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(
            "Somebody gave this address to a service that manages TLS certificates,\n"
            f"{self._public_url}\n"
            "\n"
            "To receive its notices, for example before certificates expire, open this link and\n"
            "confirm that the address is yours:\n"
            "\n"
            f"{self._public_url}/email-verifications/{token}\n"
            "\n"
            "The link expires in 24 hours. If you did not ask for this, ignore this email:\n"
            "no notices are sent to an address that is not confirmed.\n",
            cte="quoted-printable",
        )
        return message


def _remove_old() -> Any:
    """Deletes all links of a user but the newest, so that another can be added."""
    kept = aliased(EmailVerificationLink)
    user_id = int_param("user_id")
    newest = (
        select(kept.token_sha256)
        .where(kept.user_id == user_id)
        .order_by(kept.expires_at.desc())
        .limit(_MOST_LINKS - 1)
    )
    return delete(EmailVerificationLink).where(
        EmailVerificationLink.user_id == user_id, EmailVerificationLink.token_sha256.not_in(newest)
    )
