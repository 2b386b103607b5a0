"""Notifies owners of expiring certificates (docs/how-to/expiry-notifications.md)."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, DateTime, bindparam, select, tuple_, update

from ...gateways.database import BoundStatement, Database, Transaction
from ...gateways.database.sql_functions import insert_new
from ...models import Certificate, ExpiryNotice, User
from ...models.expiry_threshold import EXPIRED, check_expiry
from ..events.log import CertificateState, Events
from .coverage import is_covered

# A run ends after this many checks, or this time. The next run continues. A worker that shuts down
# waits for the run.
_LOOKS_IN_A_RUN = 2000
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
        place = tuple_(Certificate.expiry_due, Certificate.id)
        after = tuple_(_time("after_due"), bindparam("after_id", type_=BigInteger))
        self._due = database.prepare(
            select(Certificate.expiry_due, Certificate.id, Certificate.user_id)
            .where(Certificate.expiry_due <= _time("now"), place > after)
            .order_by(Certificate.expiry_due, Certificate.id)
            .limit(_READ_AT_ONCE),
            tenant=None,
        )
        self._lock = database.prepare(
            select(User.expiry_thresholds, User.email_verified_at)
            .where(User.id == bindparam("user_id", type_=BigInteger))
            .with_for_update()
        )
        # The ids are in the statement's text, and so not prepared: a plan for arbitrary ids may
        # read all due certificates.
        of_those = Certificate.id.in_(bindparam("ids", expanding=True))
        shown = (getattr(Certificate, name) for name in CertificateState._fields)
        # Another worker may have checked some in the meantime.
        self._still_due = (
            select(Certificate.not_before, *shown)
            .where(of_those, Certificate.expiry_due <= _time("now"))
            .order_by(Certificate.id)
        )
        self._covered = select(Certificate.id).where(of_those, is_covered())
        self._record = database.prepare(
            insert_new(ExpiryNotice).returning(ExpiryNotice.id),
            ("user_id", "certificate_id", "version", "threshold", "at", "mail_due", "mail_held"),
        )
        self._put_off = database.prepare(
            update(Certificate)
            .where(Certificate.id == bindparam("certificate_id", type_=BigInteger))
            .values(expiry_due=_time("next"))
        )

    def tell(self) -> int:
        """Sends due notifications, and returns the number of certificates. Raises Unavailable."""
        end = self._now() + _LONGEST_RUN
        told = 0
        for user_id, ids in self._batches():
            if self._now() > end:
                break
            told += self._look_at(user_id, ids)
        return told

    def _batches(self) -> Iterator[tuple[int, list[int]]]:
        """Yields users, and the ids of their certificates to check."""
        now, place, looks = self._now(), (_BEFORE_ALL, 0), 0
        while looks < _LOOKS_IN_A_RUN:
            rows = self._due(now=now, after_due=place[0], after_id=place[1])
            if not rows:
                return
            place, looks = rows[-1][:2], looks + len(rows)
            by_user = sorted((user_id, certificate_id) for _, certificate_id, user_id in rows)
            for user_id, those in groupby(by_user, lambda row: row[0]):
                yield user_id, [certificate_id for _, certificate_id in those]

    def _look_at(self, user_id: int, ids: Sequence[int]) -> int:
        now = self._now()
        with self._database.begin(user_id) as session:
            users = session.run(self._lock, user_id=user_id)
            if not users:
                return 0
            rows = session.execute(self._still_due, {"ids": ids, "now": now}).all()
            text, email_verified_at = users[0]
            thresholds = None if text is None else msgspec.json.decode(text, type=list[str])
            passed: list[_Passed] = []
            looked: list[BoundStatement] = []
            for begin, *state in rows:
                certificate = CertificateState(*state)
                threshold, again = None, None
                if begin and certificate.not_after and certificate.active:
                    threshold, again = check_expiry(begin, certificate.not_after, thresholds, now)
                looked.append((self._put_off, {"certificate_id": certificate.id, "next": again}))
                if threshold is not None:
                    passed.append(_Passed(certificate, threshold))
            is_verified = email_verified_at is not None
            told = self._told(session, user_id, passed, now, is_verified=is_verified)
            session.run_pipeline(*looked, *self._events_of(user_id, told))
            return len(told)

    def _told(
        self,
        session: Transaction,
        user_id: int,
        passed: Sequence[_Passed],
        now: datetime,
        *,
        is_verified: bool,
    ) -> list[_Passed]:
        """Returns those of `passed` of which the owner is notified now.

        Notifications that were missed before the last threshold are not sent. Emails are held until
        the owner's address `is_verified`.
        """
        if not passed:
            return []
        ids = [one.certificate.id for one in passed]
        covered = set(session.scalars(self._covered, {"ids": ids}))
        open_ends = [one for one in passed if one.certificate.id not in covered]
        values = [
            {
                "user_id": user_id,
                "certificate_id": one.certificate.id,
                "version": one.certificate.version,
                "threshold": one.threshold,
                "at": now,
                "mail_due": now if self._by_mail and is_verified else None,
                "mail_held": self._by_mail and not is_verified,
            }
            for one in open_ends
        ]
        recorded = session.run_pipeline(*((self._record, row) for row in values))
        return [one for one, is_new in zip(open_ends, recorded, strict=True) if is_new]

    def _events_of(self, user_id: int, told: Sequence[_Passed]) -> Iterator[BoundStatement]:
        for certificate, threshold in told:
            yield from self._events.calls(
                "certificate.expired" if threshold == EXPIRED else "certificate.expiring",
                user_id,
                certificate,
            )


def _time(name: str) -> Any:
    return bindparam(name, type_=DateTime(timezone=True))
