"""Checks pending challenges on schedule, and proven ones each week."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, null, select, update

from ...errors import Conflict, NotFound, Unavailable
from ...gateways.database import EVERYBODY, Database, text_param, time_param
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import as_json, ids_as_json, ids_of, items_of
from ...models import HostnameChallenge, HostnameClaim
from ..hostnames.notices import HostnameNotices
from ..principal import WORKER
from ..user_lock import lock_user
from .checks import Tokens
from .limits import CheckLimits
from .proving import RECHECKED, Proving, Target

# A check takes some seconds: this many threads run at once, at most two for one user.
_THREADS = 8
_MOST_OF_USER = 2
# More than the idle threads, because checks of users who have enough running are skipped.
_MOST_READ = 100
# A check must store its result within this time. After a crash another worker repeats it.
LEASE = timedelta(minutes=3)
# How many consecutive checks must miss a claim's proof before its user is notified.
_MISSED = 3

_log = logging.getLogger(__name__)


class _Check(NamedTuple):
    """A challenge to check, or (`is_repeated`) a claim whose proof is checked again.

    `tokens` is None if the claim's challenge was deleted.
    """

    id: int
    user_id: int
    hostname: str
    tokens: Tokens | None
    is_expired: bool
    is_repeated: bool


class _ClaimStatements:
    """The statements about claims that a challenge proves."""

    def __init__(self, database: Database) -> None:
        self.due = database.prepare(_due_claims(), tenant=None)
        until = time_param("until")
        now_ = time_param("now")
        names = items_of(text_param("hostnames"))
        self.lease = database.prepare(
            update(HostnameClaim)
            .where(
                HostnameClaim.hostname.in_(select(names.c.value)),
                HostnameClaim.next_check_at <= now_,
            )
            .values(next_check_at=until)
            .returning(HostnameClaim.hostname)
        )
        leased = update(HostnameClaim).where(
            HostnameClaim.hostname == bindparam("of_hostname"),
            HostnameClaim.user_id == bindparam("user_id"),
            HostnameClaim.next_check_at == until,
        )
        postponed = leased.values(next_check_at=time_param("next"))
        self.postpone = database.prepare(postponed)
        checked = postponed.values(checked_at=now_, resolves_to_edge=bindparam("edge"))
        self.proof_is_there = database.prepare(checked.values(check_failures=0))
        self.proof_is_missing = database.prepare(
            checked.values(check_failures=HostnameClaim.check_failures + 1).returning(
                HostnameClaim.check_failures
            )
        )


class ChallengeRounds:
    """Checks due challenges in its own threads, under a lease.

    Two workers never check the same challenge, and another worker takes over after a crash.
    """

    def __init__(
        self, database: Database, proving: Proving, limits: CheckLimits, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._proving = proving
        self._limits = limits
        self._notices = HostnameNotices(database, now)
        self._now = now
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="challenges")
        self._lock = Lock()
        self._checks_of_user: Counter[int] = Counter()
        self._running: set[Future[None]] = set()
        self._claims = _ClaimStatements(database)
        self._due_challenges = database.prepare(_due_challenges(), tenant=None)
        until = time_param("until")
        self._lease_challenges = database.prepare(
            update(HostnameChallenge)
            .where(
                HostnameChallenge.id.in_(ids_of("ids")),
                HostnameChallenge.next_check_at <= time_param("now"),
            )
            .values(next_check_at=until)
            .returning(HostnameChallenge.id)
        )
        leased = update(HostnameChallenge).where(
            HostnameChallenge.id == bindparam("of_id"), HostnameChallenge.next_check_at == until
        )
        self._postpone = database.prepare(leased.values(next_check_at=time_param("next")))
        self._expire = database.prepare(
            leased.where(HostnameChallenge.state == "pending").values(
                state="expired", next_check_at=null()
            )
        )

    def run(self) -> int:
        """Starts due checks, as many as there are idle threads, and returns their number.

        Raises Unavailable.
        """
        with self._lock:
            self._running = {future for future in self._running if not future.done()}
            idle = _THREADS - len(self._running)
        if not idle:
            return 0
        now = self._now()
        until = now + LEASE
        leased = self._leased(self._selected(self._due(now), idle), now, until)
        for check in leased:
            with self._lock:
                self._checks_of_user[check.user_id] += 1
                self._running.add(self._threads.submit(self._check, check, until))
        return len(leased)

    def wait(self) -> None:
        """Waits until all started checks have stored their results."""
        with self._lock:
            running = list(self._running)
        wait(running)

    def close(self) -> None:
        """Completes running checks, and starts no others."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _due(self, now: datetime) -> list[_Check]:
        challenges = [_check_of_challenge(row, now) for row in self._due_challenges(now=now)]
        return challenges + [_check_of_claim(row) for row in self._claims.due(now=now)]

    def _selected(self, due: Sequence[_Check], most: int) -> list[_Check]:
        """Returns the first `most` checks, without those of users who have enough running."""
        with self._lock:
            of_user = Counter(self._checks_of_user)
        selected: list[_Check] = []
        for check in due:
            if len(selected) < most and of_user[check.user_id] < _MOST_OF_USER:
                of_user[check.user_id] += 1
                selected.append(check)
        return selected

    def _leased(self, checks: Sequence[_Check], now: datetime, until: datetime) -> list[_Check]:
        """Returns those of `checks` that no other worker has leased in the meantime."""
        if not checks:
            return []
        times = {"now": now, "until": until}
        ids = ids_as_json(check.id for check in checks if not check.is_repeated)
        hostnames = as_json([check.hostname for check in checks if check.is_repeated])
        challenges, claims = self._database.run_pipeline(
            EVERYBODY,
            (self._lease_challenges, {"ids": ids, **times}),
            (self._claims.lease, {"hostnames": hostnames, **times}),
        )
        return [
            check
            for check in checks
            if ((check.hostname,) in claims if check.is_repeated else (check.id,) in challenges)
        ]

    def _check(self, check: _Check, until: datetime) -> None:
        try:
            if check.is_repeated:
                self._check_again(check, until)
            else:
                self._check_pending(check, until)
        except NotFound:
            pass  # The user was deleted.
        except Unavailable as error:
            _log.warning("Check of %s postponed: %s", check.hostname, error.detail)
        except Exception:
            # It is retried after the lease expires.
            _log.exception("Check of %s failed", check.hostname)
        finally:
            with self._lock:
                self._checks_of_user[check.user_id] -= 1
                if not self._checks_of_user[check.user_id]:
                    del self._checks_of_user[check.user_id]

    def _check_pending(self, check: _Check, until: datetime) -> None:
        user_id, lease = check.user_id, {"of_id": check.id, "until": until}
        if check.is_expired:
            self._database.run_pipeline(user_id, (self._expire, lease))
        elif next_at := self._postponed_until(check):
            self._database.run_pipeline(user_id, (self._postpone, {**lease, "next": next_at}))
        elif check.tokens:
            target = Target(check.id, user_id, check.hostname, check.tokens, until)
            try:
                self._proving.prove(WORKER, target)
            except Conflict as refusal:
                _log.info(
                    "Control of %s is proven, but the hostname cannot be claimed: %s",
                    check.hostname,
                    refusal.detail,
                )

    def _check_again(self, check: _Check, until: datetime) -> None:
        user_id, hostname, tokens = check.user_id, check.hostname, check.tokens
        lease = {"of_hostname": hostname, "user_id": user_id, "until": until}
        if next_at := self._postponed_until(check):
            postponed = (self._claims.postpone, {**lease, "next": next_at})
            self._database.run_pipeline(user_id, postponed)
            return
        checked = self._proving.check(user_id, hostname, tokens) if tokens else None
        now, edge = self._now(), checked.resolves_to_edge if checked else None
        values = {**lease, "now": now, "next": now + RECHECKED, "edge": edge}
        with self._database.begin(user_id) as session:
            lock_user(session, user_id)
            if checked and checked.is_proven:
                claim = session.get(HostnameClaim, hostname)
                failures = claim.check_failures if claim else 0
                is_leased = claim and (claim.user_id, claim.next_check_at) == (user_id, until)
                session.run(self._claims.proof_is_there, **values)
                if is_leased and failures >= _MISSED:
                    reason = "The proof was found again."
                    self._notices.add(session, user_id, [hostname], "verified", reason)
                return
            missing = session.run(self._claims.proof_is_missing, **values)
            if missing and missing[0][0] == _MISSED:
                reason = checked.seen[0].detail if checked else "The challenge was deleted."
                self._notices.add(session, user_id, [hostname], "proof_missing", reason)

    def _postponed_until(self, check: _Check) -> datetime | None:
        """Returns when to check if the domain was queried too often; None: now."""
        seconds = self._limits.count(check.hostname, check.user_id)
        return self._now() + timedelta(seconds=seconds) if seconds is not None else None


def _check_of_challenge(row: Row, now: datetime) -> _Check:
    challenge_id, user_id, hostname, state, expires_at, *tokens = row
    is_expired = state == "pending" and expires_at <= now
    return _Check(challenge_id, user_id, hostname, Tokens(*tokens), is_expired, False)


def _check_of_claim(row: Row) -> _Check:
    user_id, hostname, *tokens = row
    return _Check(0, user_id, hostname, Tokens(*tokens) if tokens[0] else None, False, True)


def _due_challenges() -> Any:
    """Selects the first due challenge of each user, then the second of each, and so on.

    One user's many challenges thus delay nobody.
    """
    turn = func.row_number().over(
        partition_by=HostnameChallenge.user_id,
        order_by=(HostnameChallenge.next_check_at, HostnameChallenge.id),
    )
    due = (
        select(HostnameChallenge, turn.label("turn"))
        .where(HostnameChallenge.next_check_at <= time_param("now"))
        .subquery()
    )
    columns = ("id", "user_id", "hostname", "state", "expires_at", *Tokens._fields)
    return (
        select(*(due.c[name] for name in columns))
        .order_by(due.c.turn, due.c.next_check_at, due.c.id)
        .limit(_MOST_READ)
    )


def _due_claims() -> Any:
    """Selects due claims that a challenge proves, in the same order."""
    turn = func.row_number().over(
        partition_by=HostnameClaim.user_id,
        order_by=(HostnameClaim.next_check_at, HostnameClaim.hostname),
    )
    due = (
        select(HostnameClaim, turn.label("turn"))
        .where(HostnameClaim.next_check_at <= time_param("now"), HostnameClaim.proof == "challenge")
        .subquery()
    )
    challenge = HostnameChallenge
    is_of_claim = (challenge.hostname == due.c.hostname) & (challenge.user_id == due.c.user_id)
    tokens = (getattr(challenge, name) for name in Tokens._fields)
    return (
        select(due.c.user_id, due.c.hostname, *tokens)
        .select_from(due)
        .outerjoin(challenge, is_of_claim)
        .order_by(due.c.turn, due.c.next_check_at, due.c.hostname)
        .limit(_MOST_READ)
    )
