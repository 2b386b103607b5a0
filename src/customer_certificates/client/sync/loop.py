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
from .state import Placed, State

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
    mirror: Reconciler
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
        self._feed, self._state, self._mirror, self._publisher = parts
        self._folder = folder
        self._metrics = metrics
        self._now = now
        self._following = RetryState("Following the feed")
        self._timing = RetryState("Applying scheduled changes")
        self._publishing = RetryState("Reloading the server", _LONGEST_UNSERVED_SECONDS)
        self._clearing = RetryState("Removing old files")
        self._reporting = RetryState("Reporting")
        self._noting = RetryState("Writing the status")
        self._troubles = (
            self._following,
            self._timing,
            self._publishing,
            self._clearing,
            self._reporting,
            self._noting,
        )
        self._has_more = self._is_news = True
        self._heard_at: datetime | None = None
        self._counts: tuple[int, int, int] | None = None
        self._reported_problems: list[str] = []
        self._report_at = -math.inf
        self._noted: status.Status | None = None
        self._noted_at = -math.inf
        self._is_stopped = self._is_waiting = False

    def run(self) -> None:
        """Returns after `stop`."""
        self._say_refusals()
        try:
            while not self._is_stopped:
                self._listen()
                self._catch_up()
        except _Stopped:
            pass

    def run_once(self) -> bool:
        """Returns whether everything is served as it should be. Does not retry a failure."""
        for trouble in self._troubles:
            trouble.is_retried = False
        self._say_refusals()
        while self._has_more and not self._following:
            self._attempt(self._following, lambda: self._follow(0))
        self._catch_up()
        return not self._problems() and self._publisher.due_in() is None

    def stop(self) -> None:
        """Ends `run`: at once if the agent waits, otherwise after the current step."""
        self._is_stopped = True
        if self._is_waiting:
            raise _Stopped

    def _say_refusals(self) -> None:
        """Logs the certificates that an earlier process rejected."""
        for refusal in self._refusals():
            say(refusal)

    def _problems(self) -> list[str]:
        """Returns current errors, and the certificates that are not served."""
        return [str(retry) for retry in self._troubles if retry] + self._refusals()

    def _refusals(self) -> list[str]:
        """Returns the certificates that are not served: some of them, and the number of others."""
        refusals = [str(refusal) for refusal in self._state.refusals(_MOST_REFUSALS)]
        if others := self._state.count_refusals() - len(refusals):
            refusals.append(f"{others} other certificates are not served.")
        return refusals

    def _listen(self) -> None:
        """Waits for changes until another action is due."""
        seconds = self._idle_seconds()
        if self._following.seconds:
            self._wait(min(self._following.seconds, max(seconds, 0.05)))
            return
        self._is_news, began = False, time.monotonic()
        self._attempt(self._following, lambda: self._follow(int(seconds)))
        if not (self._is_news or self._has_more or self._following):
            # The request had no wait, or the service has too many waiting requests.
            self._wait(max(0.0, min(seconds, 1.0) - (time.monotonic() - began)))

    def _catch_up(self) -> None:
        """Runs every due action that does not wait for the service."""
        self._attempt(self._timing, self._keep_time)
        if not self._has_more or self._following:
            if self._mirror.is_publishable():
                self._attempt(self._publishing, self._publisher.publish)
            if self._publisher.is_listed():
                self._attempt(self._clearing, lambda: self._mirror.clear(self._now()))
            self._attempt(self._reporting, self._report)
        self._attempt(self._noting, self._note_status)

    def _idle_seconds(self) -> float:
        """Returns the seconds until an action is due without news from the service."""
        if self._has_more and not self._following:
            return 0.0
        now = self._now()
        seconds = [_LONGEST_WAIT_SECONDS]
        seconds += [trouble.seconds for trouble in self._troubles if trouble]
        if moment := self._state.next_change(now):
            seconds.append((moment - now).total_seconds())
        due_in = self._publisher.due_in()
        if due_in is not None and not self._publishing:
            seconds.append(due_in)
        elif (due := self._state.next_leftover()) and not self._publishing:
            seconds.append(max(due - now.timestamp(), 1.0))
        return max(min(seconds), 0.0)

    def _attempt(self, trouble: RetryState, action: Callable[[], None]) -> None:
        """Runs `action`, unless its retry delay has not passed yet."""
        if trouble.seconds:
            return
        try:
            action()
        except Lost as lost:
            trouble.begin(lost.detail, lost.retry_after)
        except (Refused, Unreachable) as refused:
            trouble.begin(refused.detail)
        except PublishingFailure as failure:
            trouble.begin(str(failure))
        except FileNotFoundError as error:
            self._mirror.read_again()
            trouble.begin(f"{error.filename} is missing, so all certificates are fetched again")
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            trouble.begin(f"{self._folder.root}: {reason or error}")
        else:
            trouble.end()

    def _follow(self, wait: int) -> None:
        cursor = self._state.fact("cursor")
        with self._waiting():
            page = self._feed.page(cursor, wait)
        self._heard_at = self._now()
        if self._following:
            # The service works again, so it may accept the report too.
            self._reporting.try_again()
        if page.changes or page.reset or page.cursor != cursor:
            self._mirror.apply(page, self._now())
            self._counts = None
        self._has_more = page.more
        self._is_news = bool(page.changes)

    def _keep_time(self) -> None:
        if self._mirror.keep_time(self._now()):
            self._counts = None

    def _report(self) -> None:
        """Reports certificates as served only after the server loaded them."""
        problems = [problem[:_LONGEST_PROBLEM] for problem in self._problems()]
        is_due = problems != self._reported_problems or time.monotonic() > self._report_at
        while True:
            unconfirmed = self._publisher.unconfirmed()
            served, dropped = list[Placed](), list[int]()
            if unconfirmed is not None:
                served, dropped = self._state.unreported(unconfirmed)
            if not served and not dropped and not is_due:
                return
            self._feed.report(
                self._identity.terminator,
                self._identity.format,
                self._state.fact("cursor"),
                served,
                dropped,
                problems,
                self._state.instance,
            )
            self._reported_problems, is_due = problems, False
            self._report_at = time.monotonic() + _REPORT_SECONDS
            with self._state.transaction():
                self._state.reported([*(certificate.id for certificate in served), *dropped])

    def _note_status(self) -> None:
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
            next_change=self._state.next_change(now),
            problems=problems,
        )
        is_news = self._noted is None or not found.says_the_same_as(self._noted)
        if is_news or time.monotonic() > self._noted_at + _STATUS_SECONDS:
            status.write(self._folder, self._metrics, found, self._troubles)
            self._noted, self._noted_at = found, time.monotonic()

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
