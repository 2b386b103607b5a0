"""Notifies owners of expiring certificates (docs/how-to/expiry-notifications.md)."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select, tuple_, update

from ...gateways.database import BoundStatement, Database, Transaction, int_param, time_param
from ...gateways.database.sql_functions import insert_new
from ...models import Certificate, ExpiryNotice, User
from ...models.expiry_threshold import EXPIRED, check_expiry
from ..events.log import CertificateState, Events
from .coverage import is_covered

# A run ends after this many checks, or this time. The next run continues. A worker that shuts down
# waits for the run.
_MOST_CHECKS = 2000
_LONGEST_RUN = timedelta(seconds=10)
_READ_AT_ONCE = 500
# Before any time that the database sets by itself.
_BEFORE_ALL = datetime(1900, 1, 1, tzinfo=UTC)


class _Passed(NamedTuple):
    """A certificate, and the last threshold that it passed."""

    certificate: CertificateState
    threshold: str


class Expiry:
    """Checks certificates when they are due, found by an index.

    Each is due at its next threshold, and that time is set when it is activated, replaced, or its
    user's thresholds change.

    The checks of a user's certificates and their results are one transaction, under the lock of the
    user's row. Another worker, or a restarted one, thus does not repeat completed checks.
    """

    def __init__(
        self, database: Database, events: Events, now: Callable[[], datetime], *, by_mail: bool
    ) -> None:
        """`by_mail`: also send an email."""
        self._database = database
        self._events = events
        self._now = now
        self._by_mail = by_mail
        self._due = database.prepare(_due(), tenant=None)
        self._record = database.prepare(
            insert_new(ExpiryNotice).returning(ExpiryNotice.id),
            ("user_id", "certificate_id", "version", "threshold", "at", "mail_due", "mail_held"),
        )
        self._set_next_check = database.prepare(
            update(Certificate)
            .where(Certificate.id == int_param("certificate_id"))
            .values(expiry_due=time_param("next"))
        )

    def notify(self) -> int:
        """Sends due notifications, and returns the number of certificates. Raises Unavailable."""
        end = self._now() + _LONGEST_RUN
        notified = 0
        for user_id, ids in self._batches():
            if self._now() > end:
                break
            notified += self._check(user_id, ids)
        return notified

    def _batches(self) -> Iterator[tuple[int, list[int]]]:
        """Yields users, and the ids of their certificates to check."""
        now, checks = self._now(), 0
        after = {"after_due": _BEFORE_ALL, "after_id": 0}
        while checks < _MOST_CHECKS and (rows := self._due(now=now, **after)):
            checks += len(rows)
            after = {"after_due": rows[-1][0], "after_id": rows[-1][1]}
            by_user = sorted((user_id, certificate_id) for _, certificate_id, user_id in rows)
            for user_id, certificates in groupby(by_user, itemgetter(0)):
                yield user_id, [certificate_id for _, certificate_id in certificates]

    def _check(self, user_id: int, ids: Sequence[int]) -> int:
        """Checks certificates of a user, and returns the number of notifications."""
        now = self._now()
        with self._database.begin(user_id) as session:
            user = session.get(User, user_id, with_for_update=True)
            if user is None:
                return 0
            text = user.expiry_thresholds
            thresholds = None if text is None else msgspec.json.decode(text, type=list[str])
            passed: list[_Passed] = []
            next_checks: list[BoundStatement] = []
            rows: Any = session.execute(_still_due(ids, now))
            for not_before, *state in rows:
                certificate = CertificateState(*state)
                threshold, next_check = None, None
                if not_before and certificate.not_after and certificate.active:
                    threshold, next_check = check_expiry(
                        not_before, certificate.not_after, thresholds, now
                    )
                values = {"certificate_id": certificate.id, "next": next_check}
                next_checks.append((self._set_next_check, values))
                if threshold is not None:
                    passed.append(_Passed(certificate, threshold))
            notices = self._recorded(session, user, passed, now)
            session.run_pipeline(*next_checks, *self._events_of(user_id, notices))
            return len(notices)

    def _recorded(
        self, session: Transaction, user: User, passed: Sequence[_Passed], now: datetime
    ) -> list[_Passed]:
        """Records notices, and returns the new ones.

        Notices that were missed before the last threshold are not sent. Emails are held until the
        owner's address is verified.
        """
        if not passed:
            return []
        ids = [item.certificate.id for item in passed]
        covered = set(session.scalars(select(Certificate.id).where(_in(ids), is_covered())))
        uncovered = [item for item in passed if item.certificate.id not in covered]
        is_verified = user.email_verified_at is not None
        values = [
            {
                "user_id": user.id,
                "certificate_id": item.certificate.id,
                "version": item.certificate.version,
                "threshold": item.threshold,
                "at": now,
                "mail_due": now if self._by_mail and is_verified else None,
                "mail_held": self._by_mail and not is_verified,
            }
            for item in uncovered
        ]
        recorded = session.run_pipeline(*((self._record, row) for row in values))
        return [item for item, is_new in zip(uncovered, recorded, strict=True) if is_new]

    def _events_of(self, user_id: int, notices: Sequence[_Passed]) -> Iterator[BoundStatement]:
        for certificate, threshold in notices:
            yield from self._events.calls(
                "certificate.expired" if threshold == EXPIRED else "certificate.expiring",
                user_id,
                certificate,
            )


def _due() -> Any:
    """Selects certificates to check, in the order of the index."""
    place = tuple_(Certificate.expiry_due, Certificate.id)
    after = tuple_(time_param("after_due"), int_param("after_id"))
    return (
        select(Certificate.expiry_due, Certificate.id, Certificate.user_id)
        .where(Certificate.expiry_due <= time_param("now"), place > after)
        .order_by(Certificate.expiry_due, Certificate.id)
        .limit(_READ_AT_ONCE)
    )


def _still_due(ids: Sequence[int], now: datetime) -> Any:
    """Selects the certificates that no other worker has checked in the meantime."""
    columns = (getattr(Certificate, name) for name in CertificateState._fields)
    return (
        select(Certificate.not_before, *columns)
        .where(_in(ids), Certificate.expiry_due <= now)
        .order_by(Certificate.id)
    )


def _in(ids: Sequence[int]) -> Any:
    # The ids are in the statement's text, and so not prepared: a plan for arbitrary ids may read
    # all due certificates.
    return Certificate.id.in_(ids)
