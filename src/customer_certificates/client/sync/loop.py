"""The agent's loop: follow the feed, write files, reload the server, report, and retry."""

import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ...terminal import say
from ..api.responses import Lost, Refused, Unreachable
from . import status
from .feed import Feed
from .files.folder import Folder
from .hooks import PublishingFailure
from .publishing import Publisher
from .reconciler import Reconciler
from .retry import RetryState
from .state.certificates import Placed
from .state.state import State

_LONGEST_WAIT_SECONDS = 30.0
_STATUS_SECONDS = 10.0
# The server is on this machine, so frequent retries are cheap.
_LONGEST_UNSERVED_SECONDS = 10.0
# The interval of reports without changes. They show how far the agent has followed the feed.
_REPORT_SECONDS = 60.0
_LONGEST_PROBLEM = 1000
_MOST_REFUSALS = 50


class Parts(NamedTuple):
    """The parts of an agent."""

    feed: Feed
    state: State
    reconciler: Reconciler
    publisher: Publisher


class Identity(NamedTuple):
    """An agent's name, its format, and the URL of its service."""

    terminator: str
    format: str
    server: str


class _Stopped(BaseException):
    """Raised by `stop` while the agent waits."""


class Agent:
    """One thread runs the agent; a signal handler in the same thread calls `stop`."""

    def __init__(
        self,
        identity: Identity,
        parts: Parts,
        folder: Folder,
        metrics: Path | None,
        now: Callable[[], datetime],
    ) -> None:
        self._identity = identity
        self._feed, self._state, self._reconciler, self._publisher = parts
        self._folder = folder
        self._metrics = metrics
        self._now = now
        self._feed_reading = RetryState("Following the feed")
        self._validity = RetryState("Applying scheduled changes")
        self._publishing = RetryState("Reloading the server", _LONGEST_UNSERVED_SECONDS)
        self._removal = RetryState("Removing old files")
        self._reporting = RetryState("Reporting")
        self._status_writing = RetryState("Writing the status")
        self._retries = (
            *(self._feed_reading, self._validity, self._publishing),
            *(self._removal, self._reporting, self._status_writing),
        )
        self._has_more = self._has_changes = True
        self._heard_at: datetime | None = None
        self._counts: tuple[int, int, int] | None = None
        self._reported_problems: list[str] = []
        self._report_at = -math.inf
        self._written: status.Status | None = None
        self._written_at = -math.inf
        self._is_stopped = self._is_waiting = False

    def run(self) -> None:
        """Returns after `stop`."""
        self._log_refusals()
        try:
            while not self._is_stopped:
                self._listen()
                self._catch_up()
        except _Stopped:
            pass

    def run_once(self) -> bool:
        """Returns whether everything is served as it should be. Does not retry a failure."""
        for retry in self._retries:
            retry.is_retried = False
        self._log_refusals()
        while self._has_more and not self._feed_reading:
            self._attempt(self._feed_reading, lambda: self._follow(0))
        self._catch_up()
        return not self._problems() and self._publisher.due_in() is None

    def stop(self) -> None:
        """Ends `run`: at once if the agent waits, otherwise after the current step."""
        self._is_stopped = True
        if self._is_waiting:
            raise _Stopped

    def _log_refusals(self) -> None:
        for refusal in self._refusals():
            say(refusal)

    def _problems(self) -> list[str]:
        """Returns current errors, and the certificates that are not served."""
        return [str(retry) for retry in self._retries if retry] + self._refusals()

    def _refusals(self) -> list[str]:
        """Returns the certificates that are not served: some of them, and the number of others."""
        refusals = [str(refusal) for refusal in self._state.refusals.first(_MOST_REFUSALS)]
        if others := self._state.refusals.count() - len(refusals):
            refusals.append(f"{others} other certificates are not served.")
        return refusals

    def _listen(self) -> None:
        """Waits for changes until another action is due."""
        seconds = self._idle_seconds()
        if self._feed_reading.seconds:
            self._wait(min(self._feed_reading.seconds, max(seconds, 0.05)))
            return
        self._has_changes, began = False, time.monotonic()
        self._attempt(self._feed_reading, lambda: self._follow(int(seconds)))
        if not (self._has_changes or self._has_more or self._feed_reading):
            # The request had no wait, or the service has too many waiting requests.
            self._wait(max(0.0, min(seconds, 1.0) - (time.monotonic() - began)))

    def _catch_up(self) -> None:
        """Runs every due action that does not wait for the service."""
        self._attempt(self._validity, self._apply_validity)
        if not self._has_more or self._feed_reading:
            if self._reconciler.is_publishable():
                self._attempt(self._publishing, self._publisher.publish)
            if self._publisher.is_published():
                self._attempt(
                    self._removal, lambda: self._reconciler.remove_unused_files(self._now())
                )
            self._attempt(self._reporting, self._report)
        self._attempt(self._status_writing, self._write_status)

    def _idle_seconds(self) -> float:
        """Returns the seconds until an action is due without news from the service."""
        if self._has_more and not self._feed_reading:
            return 0.0
        now = self._now()
        seconds = [_LONGEST_WAIT_SECONDS]
        seconds += [retry.seconds for retry in self._retries if retry]
        if moment := self._state.certificates.next_change(now):
            seconds.append((moment - now).total_seconds())
        due_in = self._publisher.due_in()
        if due_in is not None and not self._publishing:
            seconds.append(due_in)
        elif (removal_at := self._state.removals.next_at()) and not self._publishing:
            seconds.append(max(removal_at - now.timestamp(), 1.0))
        return max(min(seconds), 0.0)

    def _attempt(self, retry: RetryState, action: Callable[[], None]) -> None:
        """Runs `action`, unless its retry delay has not passed yet."""
        if retry.seconds:
            return
        try:
            action()
        except Lost as lost:
            retry.fail(str(lost), lost.retry_after)
        except (Refused, Unreachable, PublishingFailure) as error:
            retry.fail(str(error))
        except FileNotFoundError as error:
            self._reconciler.restart_feed()
            retry.fail(f"{error.filename} is missing, so all certificates are fetched again")
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            retry.fail(f"{self._folder.root}: {reason or error}")
        else:
            retry.succeed()

    def _follow(self, wait: int) -> None:
        cursor = self._state.fact("cursor")
        with self._waiting():
            page = self._feed.page(cursor, wait)
        self._heard_at = self._now()
        if self._feed_reading:
            # The service works again, so it may accept the report too.
            self._reporting.try_again()
        if page.changes or page.reset or page.cursor != cursor:
            self._reconciler.apply(page, self._now())
            self._counts = None
        self._has_more = page.more
        self._has_changes = bool(page.changes)

    def _apply_validity(self) -> None:
        if self._reconciler.apply_validity(self._now()):
            self._counts = None

    def _report(self) -> None:
        """Reports certificates as served only after the server loaded them."""
        problems = [problem[:_LONGEST_PROBLEM] for problem in self._problems()]
        is_due = problems != self._reported_problems or time.monotonic() > self._report_at
        while True:
            unconfirmed = self._publisher.unconfirmed()
            served, dropped = list[Placed](), list[int]()
            if unconfirmed is not None:
                served, dropped = self._state.reports.next(unconfirmed)
            if not served and not dropped and not is_due:
                return
            name, kind, _ = self._identity
            cursor, instance = self._state.fact("cursor"), self._state.instance
            self._feed.report(name, kind, cursor, served, dropped, problems, instance)
            self._reported_problems, is_due = problems, False
            self._report_at = time.monotonic() + _REPORT_SECONDS
            with self._state.transaction():
                self._state.reports.remove([*(certificate.id for certificate in served), *dropped])

    def _write_status(self) -> None:
        self._counts = self._counts or self._state.counts()
        certificates, served, hostnames = self._counts
        problems = tuple(self._problems())
        is_done = not self._has_more and self._publisher.due_in() is None
        now = self._now()
        found = status.Status(
            *self._identity,
            process=os.getpid(),
            at=now,
            heard_at=self._heard_at,
            is_current=is_done and not problems,
            certificates=certificates,
            served=served,
            hostnames=hostnames,
            next_change=self._state.certificates.next_change(now),
            problems=problems,
        )
        is_changed = self._written is None or not found.differs_only_in_time_from(self._written)
        if is_changed or time.monotonic() > self._written_at + _STATUS_SECONDS:
            status.write(self._folder, self._metrics, found, self._retries)
            self._written, self._written_at = found, time.monotonic()

    def _wait(self, seconds: float) -> None:
        with self._waiting():
            time.sleep(seconds)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        self._is_waiting = True
        try:
            if self._is_stopped:
                raise _Stopped
            yield
        finally:
            self._is_waiting = False
