"""Verifies users' addresses, and holds emails until then.

The transaction of each method must have locked the user's row.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import case, delete, literal, select, update
from sqlalchemy.orm import aliased

from ...gateways.admission.client_networks import client_network
from ...gateways.database import Database, Transaction, int_param, time_param
from ...gateways.database.sql_functions import replacing
from ...models import EmailVerification, EmailVerificationLink, ExpiryNotice, User, email_key
from ..principal import Principal
from ..rate_counts import Rate, RateCounts

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
# How many verification emails a user, an address and a client network can cause in that time.
_LIMITS = (
    ("address", _HOUR, 3),
    ("address", _DAY, 5),
    ("network", _HOUR, 10),
    ("network", _DAY, 50),
    ("user", _HOUR, 3),
    ("user", _DAY, 10),
)
_QUEUED = ("requested_at", "mail_due", "mail_tries", "mail_error")
# Operators are exempt: they register many users from one address.
_LIMITED_BY_NETWORK = ("anybody", "user")


class AddressVerification:
    """The statements about one user's address.

    Invariant: a notice has `mail_due` only while its user's address is verified. Otherwise it is
    held.
    """

    def __init__(self, database: Database, now: Callable[[], datetime], *, by_mail: bool) -> None:
        """`by_mail`: links can be sent by email. Otherwise only operators verify addresses."""
        self.by_mail = by_mail
        self._now = now
        self._counts = RateCounts(database, now)
        columns = [getattr(EmailVerification, name) for name in _QUEUED]
        self._queue = database.prepare(
            replacing(EmailVerification, EmailVerification.user_id, columns), ("user_id", *_QUEUED)
        )
        self._release = database.prepare(_release())

    def queue(self, session: Transaction, principal: Principal, user: User) -> int | None:
        """Queues an email with a link to the user's address, within the rate limits.

        Returns None, or the seconds until `principal` can cause another email.
        """
        wait = self._counts.add(session, _rates(principal, user))
        if wait is not None:
            return wait
        now = self._now()
        queued = dict(zip(_QUEUED, (now, now, 0, None), strict=True))
        session.run(self._queue, user_id=user.id, **queued)
        return None

    def set_verified(self, session: Transaction, user: User) -> None:
        """Marks the address as verified, and releases held emails."""
        user.email_verified_at = now = self._now()
        session.flush()
        _remove_links(session, user.id)
        session.run(self._release, user_id=user.id, now=now)

    def set_unverified(self, session: Transaction, user: User) -> None:
        """Marks the address as unverified, holds emails, and invalidates links."""
        user.email_verified_at = None
        session.flush()
        _remove_links(session, user.id)
        session.execute(
            update(ExpiryNotice)
            .where(ExpiryNotice.user_id == user.id, ExpiryNotice.mail_due.is_not(None))
            .values(mail_due=None, mail_held=True)
        )


def _remove_links(session: Transaction, user_id: int) -> None:
    for table in (EmailVerification, EmailVerificationLink):
        session.execute(delete(table).where(table.user_id == user_id))


def _rates(principal: Principal, user: User) -> list[Rate]:
    """Returns the rate limits of an email, always in the same order."""
    names = {
        "address": _address_digest(user.email),
        "network": client_network(principal.peer),
        "user": str(user.id),
    }
    return [
        Rate(f"mail/{kind}/{int(window.total_seconds())}/{names[kind]}", window, most)
        for kind, window, most in _LIMITS
        if kind != "network" or principal.kind in _LIMITED_BY_NETWORK
    ]


def _address_digest(email: str) -> str:
    """Returns the digest of the address without `+tag`: a mailbox has any number of tags."""
    local, _, domain = email_key(email).rpartition("@")
    mailbox = f"{local.partition('+')[0] or local}@{domain}"
    return blake2b(mailbox.encode(), digest_size=16).hexdigest()


def _release() -> Any:
    """Of several notices about a version of a certificate, sends only the last."""
    later = aliased(ExpiryNotice)
    is_last = ~(
        select(later.id)
        .where(
            later.certificate_id == ExpiryNotice.certificate_id,
            later.version == ExpiryNotice.version,
            later.id > ExpiryNotice.id,
        )
        .correlate(ExpiryNotice)
        .exists()
    )
    return (
        update(ExpiryNotice)
        .where(ExpiryNotice.user_id == int_param("user_id"), ExpiryNotice.mail_held)
        .values(
            mail_held=False,
            mail_due=case((is_last, time_param("now"))),
            mail_error=case(
                (is_last, ExpiryNotice.mail_error),
                else_=literal("A later notice was sent instead."),
            ),
        )
    )
