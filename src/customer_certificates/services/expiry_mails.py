"""Letters that wait are handed to the mail server: at least once, whatever dies on the way."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, DateTime, Text, bindparam, select, update
from sqlalchemy.orm import aliased

from ..gateways.database import EVERYBODY, Database
from ..gateways.smtp import MailDelayed, Mailer, MailRefused
from ..models import Certificate, ExpiryNotice, User
from .expiry_letters import Subject, address_of, letter

_CLAIMED_AT_ONCE = 4
# Other jobs wait meanwhile.
_LONGEST_RUN = timedelta(seconds=10)
# More than sending a batch takes, which is a bit more than two minutes for a letter at the worst.
_LEASE = timedelta(minutes=10)
# While the server takes no letter at all, however long that is.
_PAUSE = timedelta(minutes=5)
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=6)
# A letter that is put off again and again is given up after about two weeks.
_MOST_TRIES = 60

_log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    id: int
    tries: int
    is_current: bool
    subject: Subject


class ExpiryMails:
    """A notice whose `mail_due` has come is claimed by putting that off; a worker that dies leaves
    it to be claimed again. A letter about what has changed since is not sent."""

    def __init__(self, database: Database, mailer: Mailer, now: Callable[[], datetime]) -> None:
        self._database = database
        self._mailer = mailer
        self._now = now
        self._claim = database.prepare(_claim(), tenant=None)
        self._load = database.prepare(_load(), tenant=None)
        self._settle = database.prepare(_settle(), tenant=None)

    def send(self) -> int:
        """Sends what is due; says how many letters were taken. Raises Unavailable."""
        taken, end = 0, self._now() + _LONGEST_RUN
        while True:
            until = self._now() + _LEASE
            batch = self._claimed(until)
            for waiting in batch:
                try:
                    taken += self._try(waiting, until)
                except MailDelayed as delayed:
                    _log.warning("the mail server takes no letters: %s", delayed.detail)
                    self._put_off(batch[batch.index(waiting) :], until, delayed.detail)
                    return taken
            if len(batch) < _CLAIMED_AT_ONCE or self._now() >= end:
                return taken

    def _claimed(self, until: datetime) -> list[_Waiting]:
        claimed, loaded = self._database.run_together(
            EVERYBODY,
            (self._claim, {"now": self._now(), "until": until}),
            (self._load, {"until": until}),
        )
        return [
            _Waiting(notice_id, tries, bool(is_current), Subject(*subject))
            for notice_id, tries, is_current, *subject in loaded
            # Not another worker's, which was at it at the same microsecond.
            if (notice_id,) in claimed
        ]

    def _try(self, waiting: _Waiting, until: datetime) -> bool:
        """Whether the server took the letter. Raises MailDelayed where it takes none at all."""
        now = self._now()
        if not waiting.is_current:
            self._store(waiting, until, error="It was replaced or deactivated before that.")
            return False
        try:
            self._mailer.send(
                letter(waiting.subject, self._mailer.sender, now),
                address_of(waiting.subject.email),
            )
        except MailRefused as refused:
            self._give_up(waiting, until, refused.detail)
            return False
        except Exception as error:
            if isinstance(error, MailDelayed):
                if error.is_for_all:
                    raise
                delayed = error
            else:
                # One letter's defect is not to keep others from being sent.
                _log.exception("a letter to user %d failed", waiting.subject.user_id)
                delayed = MailDelayed("It could not be written.", is_for_all=False)
            tries = waiting.tries + 1
            if tries >= _MOST_TRIES:
                self._give_up(waiting, until, delayed.detail)
                return False
            wait = min(_FIRST_WAIT * 4 ** min(waiting.tries, 9), _LONGEST_WAIT)
            self._store(waiting, until, due=now + wait, tries=tries, error=delayed.detail)
            return False
        self._store(waiting, until, tries=waiting.tries + 1, mailed_at=now)
        return True

    def _give_up(self, waiting: _Waiting, until: datetime, detail: str) -> None:
        _log.warning(
            "no letter to user %d about certificate %d: %s",
            waiting.subject.user_id,
            waiting.subject.certificate_id,
            detail,
        )
        self._store(waiting, until, tries=waiting.tries + 1, error=detail)

    def _put_off(self, those: Sequence[_Waiting], until: datetime, detail: str) -> None:
        for waiting in those:
            self._store(waiting, until, due=self._now() + _PAUSE, error=detail)

    def _store(
        self,
        waiting: _Waiting,
        until: datetime,
        *,
        due: datetime | None = None,
        tries: int | None = None,
        error: str | None = None,
        mailed_at: datetime | None = None,
    ) -> None:
        """What became of it, unless another worker has claimed it since."""
        values = {
            "notice_id": waiting.id,
            "until": until,
            "due": due,
            "tries": waiting.tries if tries is None else tries,
            "error": error,
            "at": mailed_at,
        }
        self._database.run_together(EVERYBODY, (self._settle, values))


def _time(name: str) -> Any:
    return bindparam(name, type_=DateTime(timezone=True))


def _claim() -> Any:
    waiting = aliased(ExpiryNotice)
    due = (
        select(waiting.id)
        .where(waiting.mail_due <= _time("now"))
        .order_by(waiting.mail_due)
        .limit(_CLAIMED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return (
        update(ExpiryNotice)
        .where(ExpiryNotice.id.in_(due), ExpiryNotice.mail_due <= _time("now"))
        .values(mail_due=_time("until"))
        .returning(ExpiryNotice.id)
    )


def _load() -> Any:
    is_current = Certificate.active & (Certificate.version == ExpiryNotice.version)
    return (
        select(
            ExpiryNotice.id,
            ExpiryNotice.mail_tries,
            is_current,
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
        .join(Certificate, Certificate.id == ExpiryNotice.certificate_id)
        .join(User, User.id == Certificate.user_id)
        .where(ExpiryNotice.mail_due == _time("until"))
        .order_by(ExpiryNotice.id)
    )


def _settle() -> Any:
    return (
        update(ExpiryNotice)
        .where(
            ExpiryNotice.id == bindparam("notice_id", type_=BigInteger),
            ExpiryNotice.mail_due == _time("until"),
        )
        .values(
            mail_due=_time("due"),
            mail_tries=bindparam("tries", type_=BigInteger),
            mail_error=bindparam("error", type_=Text),
            mailed_at=_time("at"),
        )
    )
