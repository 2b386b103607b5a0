"""Verifies email addresses: by an emailed link, or by an operator."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from sqlalchemy import bindparam, select

from ...crypto.link_tokens import digest_of
from ...errors import Conflict, Finding, TooManyRequests
from ...field_docs import doc
from ...gateways.database import Database, time_param
from ...models import EmailVerificationLink, User
from ..audit.log import Audit
from ..etags import Tags, require_view
from ..events.log import Events
from ..idempotency import NO_KEY, IdempotentRequest
from ..principal import Principal
from ..user_lock import lock_user
from .address_verification import AddressVerification
from .users import view_of_user
from .views import UserView

_VERIFY = "user.verify_email"
_SEND = "user.send_verification"


class AddressState(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the user's address is verified."""

    verified: Annotated[
        bool,
        doc(
            "true: notices are sent to the current address. false: they wait until it is verified.",
            True,
        ),
    ]


class EmailVerifications:
    """The use cases of email verification."""

    def __init__(
        self,
        database: Database,
        verification: AddressVerification,
        audit: Audit,
        events: Events,
        now: Callable[[], datetime],
    ) -> None:
        self._verification = verification
        self._audit = audit
        self._events = events
        self._now = now
        # A link verifies only the address that it was sent to, not a later one.
        self._find = database.prepare(
            select(User.id, User.email)
            .join(EmailVerificationLink, EmailVerificationLink.user_id == User.id)
            .where(
                EmailVerificationLink.token_sha256 == bindparam("token_sha256"),
                EmailVerificationLink.expires_at > time_param("now"),
                EmailVerificationLink.email == User.email,
            ),
            tenant=None,
        )

    def send(
        self, principal: Principal, user_id: int, idempotent: IdempotentRequest = NO_KEY
    ) -> None:
        """Queues another email with a link.

        Raises NotFound, Conflict (already verified, or email cannot be sent), TooManyRequests.
        """
        write = self._audit.begin(principal, _SEND, user_id, _path(user_id), idempotent)
        with write as (session, entry):
            user = lock_user(session, user_id)
            if user.email_verified_at is not None:
                raise _conflict(
                    "email_already_verified",
                    "The address is already verified.",
                    "No action needed: notices are sent to it.",
                )
            if not self._verification.by_mail:
                raise _conflict(
                    "email_not_configured",
                    "This service cannot send verification links.",
                    "Ask an operator to verify the address, or to set CC_SMTP_URL, CC_MAIL_FROM "
                    "and CC_PUBLIC_URL.",
                )
            wait = self._verification.queue(session, principal, user)
            if wait is not None:
                raise TooManyRequests(
                    "Too many verification emails were requested. Retry after the delay in "
                    "Retry-After.",
                    retry_after=wait,
                )
            entry.add()
            idempotent.save_response(session, None)

    def set(
        self,
        principal: Principal,
        user_id: int,
        state: AddressState,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> UserView:
        """Stores the verification state that an operator sets, and returns the user.

        Raises NotFound, PreconditionFailed.
        """
        write = self._audit.begin(principal, _VERIFY, user_id, _path(user_id), idempotent)
        with write as (session, entry):
            user = lock_user(session, user_id)
            require_view(expected, view_of_user(user))
            changed = state.verified != (user.email_verified_at is not None)
            if changed and state.verified:
                self._verification.set_verified(session, user)
                self._events.record(session, "user.email_verified", user_id)
            elif changed:
                self._verification.set_unverified(session, user)
            entry.add({"by": "operator", "verified": state.verified}, changed=changed)
            return idempotent.save_response(session, view_of_user(user))

    def address(self, token: str) -> str | None:
        """Returns the address that the link with `token` verifies; None for an invalid link."""
        rows = self._find(token_sha256=digest_of(token), now=self._now())
        return str(rows[0][1]) if rows else None

    def confirm(self, principal: Principal, token: str) -> str | None:
        """Verifies and returns the address of the link with `token`; None for an invalid link."""
        values = {"token_sha256": digest_of(token), "now": self._now()}
        rows = self._find(**values)
        if not rows:
            return None
        user_id: int = rows[0][0]
        write = self._audit.begin(principal, _VERIFY, user_id, f"/users/{user_id}")
        with write as (session, entry):
            user = session.get(User, user_id, with_for_update=True)
            # The link may have been used, or the address changed, before the row was locked.
            if user is None or not session.run(self._find, **values):
                return None
            self._verification.set_verified(session, user)
            self._events.record(session, "user.email_verified", user_id)
            entry.add({"by": "link", "verified": True})
            return user.email


def _path(user_id: int) -> str:
    return f"/users/{user_id}/email-verification"


def _conflict(code: str, detail: str, hint: str) -> Conflict:
    return Conflict(detail, errors=[Finding(code, "email", detail, hint)])
