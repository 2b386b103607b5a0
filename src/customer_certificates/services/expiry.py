"""Owners are told before their certificates end, and when they have (docs/expiry.md)."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import BigInteger, DateTime, bindparam, select, tuple_
from sqlalchemy.orm import load_only

from ..errors import NotFound
from ..gateways.database import Database, Transaction
from ..gateways.sql import insert_new
from ..models import Certificate, ExpiryNotice
from ..models.expiry import EXPIRED, look
from .covering import is_covered
from .events import Events, state_of
from .users import locked_user

# A run ends after so many looks; what is left is the next one's.
_LOOKS_IN_A_RUN = 2000
_READ_AT_ONCE = 500
# Before what the database itself puts there.
_BEFORE_ALL = datetime(1900, 1, 1, tzinfo=UTC)


class Expiry:
    """Looks at the certificates whose time for that has come, found by an index: each has it for
    its next threshold, and gets it when it is activated, replaced, or its user's thresholds change.

    The looks at a user's certificates are one transaction with what they find, under the lock of
    the user's row: another worker, or this one after a crash, finds done what is done.
    """

    def __init__(
        self, database: Database, events: Events, now: Callable[[], datetime], *, by_mail: bool
    ) -> None:
        """`by_mail`: a letter is to be sent, too."""
        self._database = database
        self._events = events
        self._now = now
        self._by_mail = by_mail
        place = tuple_(Certificate.expiry_due, Certificate.id)
        after = tuple_(
            bindparam("after_due", type_=DateTime(timezone=True)),
            bindparam("after_id", type_=BigInteger),
        )
        self._due = database.prepare(
            select(Certificate.expiry_due, Certificate.id, Certificate.user_id)
            .where(
                Certificate.expiry_due <= bindparam("now", type_=DateTime(timezone=True)),
                place > after,
            )
            .order_by(Certificate.expiry_due, Certificate.id)
            .limit(_READ_AT_ONCE),
            tenant=None,
        )
        self._record = database.prepare(
            insert_new(ExpiryNotice).returning(ExpiryNotice.id),
            ("user_id", "certificate_id", "version", "threshold", "at", "mail_due"),
        )

    def tell(self) -> int:
        """Tells of all that is due; says of how many certificates. Raises Unavailable."""
        return sum(self._look_at(user_id, ids) for user_id, ids in self._batches())

    def _batches(self) -> Iterator[tuple[int, list[int]]]:
        """Users, and the ids of their certificates to look at. One that fails is passed over."""
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
            try:
                user = locked_user(session, user_id)
            except NotFound:
                return 0
            text = user.expiry_thresholds
            thresholds = None if text is None else msgspec.json.decode(text, type=list[str])
            return sum(
                self._tell_of(session, certificate, covered, thresholds, now)
                for certificate, covered in session.execute(_still_due(ids, now)).all()
            )

    def _tell_of(
        self,
        session: Transaction,
        certificate: Certificate,
        covered: bool,
        thresholds: Sequence[str] | None,
        now: datetime,
    ) -> bool:
        """Whether the owner is told now of what was passed last; what was missed before that is
        told of no more."""
        begin, end = certificate.not_before, certificate.not_after
        if begin is None or end is None or not certificate.active:
            certificate.expiry_due = None
            return False
        passed, certificate.expiry_due = look(begin, end, thresholds, now)
        if passed is None or covered:
            return False
        if not session.run(
            self._record,
            user_id=certificate.user_id,
            certificate_id=certificate.id,
            version=certificate.version,
            threshold=passed,
            at=now,
            mail_due=now if self._by_mail else None,
        ):
            return False
        self._events.record(
            session,
            "certificate.expired" if passed == EXPIRED else "certificate.expiring",
            certificate.user_id,
            state_of(certificate),
        )
        return True


def _still_due(ids: Sequence[int], now: datetime) -> Any:
    """Another worker may have looked at some meanwhile; bodies are not read."""
    shown = (
        "user_id",
        "active",
        "version",
        "hostnames",
        "not_before",
        "not_after",
        "fingerprint_sha256",
        "expiry_due",
    )
    return (
        select(Certificate, is_covered())
        .where(Certificate.id.in_(ids), Certificate.expiry_due <= now)
        .order_by(Certificate.id)
        .options(load_only(*(getattr(Certificate, name) for name in shown)))
    )
