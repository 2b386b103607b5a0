"""Sends queued emails to the mail server, at least once, even if a process crashes."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import select, update
from sqlalchemy.orm import aliased

from ...gateways.database import EVERYBODY, Database, int_param, text_param, time_param
from ...gateways.smtp import MailDelayed, Mailer, MailRefused

T = TypeVar("T")

_CLAIMED_AT_ONCE = 4
# Other jobs wait in the meantime.
_LONGEST_RUN = timedelta(seconds=10)
# More than sending a batch takes: at worst a bit over two minutes for an email.
_LEASE = timedelta(minutes=10)
# The pause while the server accepts no email at all.
_PAUSE = timedelta(minutes=5)
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=6)
# An email that the server defers repeatedly is given up after about two weeks.
_MOST_ATTEMPTS = 60

_log = logging.getLogger(__name__)


class Queued(NamedTuple, Generic[T]):
    """A claimed email: the key of its row, the attempts so far, and its subject."""

    key: int
    attempt_count: int
    subject: T


class Outgoing(NamedTuple):
    """An email, and the address for the server."""

    message: EmailMessage
    address: str


class Obstacle(NamedTuple):
    """Why an email is not sent now; `again`: when to retry, None: never."""

    reason: str
    again: timedelta | None = None


class MailQueue(ABC, Generic[T]):
    """Rows with `mail_due`, `mail_tries`, `mail_error` and `mailed_at`.

    A row is claimed by postponing its `mail_due`. If a worker dies, the row is claimed again.
    """

    def __init__(
        self,
        database: Database,
        mailer: Mailer,
        now: Callable[[], datetime],
        key: Any,
        *columns: Any,
    ) -> None:
        """`key` is the table's key, an integer column. `columns` are those of a subject."""
        self._database = database
        self._mailer = mailer
        self._now = now
        table = key.class_
        due = table.mail_due
        self._claim = database.prepare(_claim(table, key), tenant=None)
        queued = select(key.label("mail_key"), table.mail_tries, *columns)
        self._load = database.prepare(
            self.joined(queued).where(due == time_param("until")).order_by(key), tenant=None
        )
        self._record = database.prepare(
            update(table)
            .where(key == int_param("key"), due == time_param("until"))
            .values(
                mail_due=time_param("next_attempt_at"),
                mail_tries=int_param("attempt_count"),
                mail_error=text_param("error"),
                mailed_at=time_param("at"),
            ),
            tenant=None,
        )

    @abstractmethod
    def joined(self, columns: Any) -> Any:
        """Returns the select of `columns`, joined with the tables that it needs."""

    @abstractmethod
    def read(self, columns: Sequence[Any]) -> T:
        """Returns the subject in a row."""

    @abstractmethod
    def obstacle(self, subject: T) -> Obstacle | None:
        """Returns why the email is outdated, or must wait."""

    @abstractmethod
    def compose(self, subject: T, now: datetime) -> Outgoing:
        """Returns the email, as of `now`."""

    @abstractmethod
    def name(self, subject: T) -> str:
        """Returns the name of an email in the log; never an address."""

    def send(self) -> int:
        """Sends due emails, and returns how many the server accepted. Raises Unavailable."""
        accepted, end = 0, self._now() + _LONGEST_RUN
        while True:
            until = self._now() + _LEASE
            batch = self._claimed(until)
            for queued in batch:
                try:
                    accepted += self._try(queued, until)
                except MailDelayed as delayed:
                    _log.warning("The mail server accepts no email: %s", delayed.detail)
                    for unsent in batch[batch.index(queued) :]:
                        next_attempt_at = self._now() + _PAUSE
                        self._store(
                            unsent, until, next_attempt_at=next_attempt_at, error=delayed.detail
                        )
                    return accepted
            if len(batch) < _CLAIMED_AT_ONCE or self._now() >= end:
                return accepted

    def _claimed(self, until: datetime) -> list[Queued[T]]:
        claimed, loaded = self._database.run_pipeline(
            EVERYBODY,
            (self._claim, {"now": self._now(), "until": until}),
            (self._load, {"until": until}),
        )
        return [
            Queued(key, attempt_count, self.read(columns))
            for key, attempt_count, *columns in loaded
            # Excludes rows that another worker claimed in the same microsecond.
            if (key,) in claimed
        ]

    def _try(self, queued: Queued[T], until: datetime) -> bool:
        """Returns whether the server accepted the email.

        Raises MailDelayed if it accepts none at all.
        """
        now = self._now()
        obstacle = self.obstacle(queued.subject)
        if obstacle is not None:
            again = None if obstacle.again is None else now + obstacle.again
            self._store(queued, until, next_attempt_at=again, error=obstacle.reason)
            return False
        try:
            self._mailer.send(*self.compose(queued.subject, now))
        except MailRefused as refused:
            self._give_up(queued, until, refused.detail)
            return False
        except Exception as error:
            if isinstance(error, MailDelayed):
                if error.is_for_all:
                    raise
                delayed = error
            else:
                # A defect of one email must not prevent others.
                _log.exception("Sending email %s failed", self.name(queued.subject))
                delayed = MailDelayed("The email could not be composed.", is_for_all=False)
            attempt_count = queued.attempt_count + 1
            if attempt_count >= _MOST_ATTEMPTS:
                self._give_up(queued, until, delayed.detail)
                return False
            wait = min(_FIRST_WAIT * 4 ** min(queued.attempt_count, 9), _LONGEST_WAIT)
            self._store(
                queued,
                until,
                next_attempt_at=now + wait,
                attempt_count=attempt_count,
                error=delayed.detail,
            )
            return False
        self._store(queued, until, attempt_count=queued.attempt_count + 1, mailed_at=now)
        return True

    def _give_up(self, queued: Queued[T], until: datetime, detail: str) -> None:
        _log.warning("Email %s was not sent: %s", self.name(queued.subject), detail)
        self._store(queued, until, attempt_count=queued.attempt_count + 1, error=detail)

    def _store(
        self,
        queued: Queued[T],
        until: datetime,
        *,
        next_attempt_at: datetime | None = None,
        attempt_count: int | None = None,
        error: str | None = None,
        mailed_at: datetime | None = None,
    ) -> None:
        """Stores the result of an attempt, unless another worker has claimed the row since."""
        values = {
            "key": queued.key,
            "until": until,
            "next_attempt_at": next_attempt_at,
            "attempt_count": queued.attempt_count if attempt_count is None else attempt_count,
            "error": error,
            "at": mailed_at,
        }
        self._database.run_pipeline(EVERYBODY, (self._record, values))


def _claim(table: Any, key: Any) -> Any:
    waiting = aliased(table)
    due = (
        select(getattr(waiting, key.key))
        .where(waiting.mail_due <= time_param("now"))
        .order_by(waiting.mail_due)
        .limit(_CLAIMED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return (
        update(table)
        .where(key.in_(due), table.mail_due <= time_param("now"))
        .values(mail_due=time_param("until"))
        .returning(key)
    )
