"""Checks pending challenges on schedule, and proven ones each week."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import DateTime, Text, bindparam, func, null, select, update

from ...errors import Conflict, NotFound, Unavailable
from ...gateways.database import EVERYBODY, Database, Transaction
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import as_json, ids_as_json, ids_of, items_of
from ...models import HostnameChallenge, HostnameClaim
from ..hostnames.notices import HostnameNotices
from ..principal import Principal
from ..user_lock import lock_user
from .checks import Tokens
from .limits import CheckLimits
from .proving import RECHECKED, Proving, Target

# A check takes some seconds: this many threads run at once, at most two for one user.
_THREADS = 8
_MOST_OF_USER = 2
# More than the free threads, since those of busy users are skipped.
_MOST_READ = 100
# A check must store its result within this time. After a crash another worker repeats it.
LEASE = timedelta(minutes=3)
# How many consecutive checks must miss a claim's proof before its user is notified.
_MISSED = 3
_WORKER = Principal("command", "worker", "")

_TIME = DateTime(timezone=True)
_log = logging.getLogger(__name__)


class _Due(NamedTuple):
    """A challenge to check, or (`is_repeated`) a claim whose proof is checked again.

    `tokens` is None if the claim's challenge was deleted.
    """

    id: int
    user_id: int
    hostname: str
    tokens: Tokens | None
    is_over: bool
    is_repeated: bool


class _ClaimStatements:
    """The statements about claims that a challenge proves."""

    def __init__(self, database: Database) -> None:
        self.due = database.prepare(_due_claims(), tenant=None)
        until: Any = bindparam("until", type_=_TIME)
        now_: Any = bindparam("now", type_=_TIME)
        next_at = bindparam("next", type_=_TIME)
        names = items_of(bindparam("hostnames", type_=Text))
        self.lease = database.prepare(
            update(HostnameClaim)
            .where(
                HostnameClaim.hostname.in_(select(names.c.value)),
                HostnameClaim.next_check_at <= now_,
            )
            .values(next_check_at=until)
            .returning(HostnameClaim.hostname)
        )
        of_claim = (
            HostnameClaim.hostname == bindparam("of_hostname"),
            HostnameClaim.user_id == bindparam("user_id"),
            HostnameClaim.next_check_at == until,
        )
        self.postpone = database.prepare(
            update(HostnameClaim).where(*of_claim).values(next_check_at=next_at)
        )
        self.failures = database.prepare(select(HostnameClaim.check_failures).where(*of_claim))
        settled = {"checked_at": now_, "next_check_at": next_at}
        self.proof_is_there = database.prepare(
            update(HostnameClaim)
            .where(*of_claim)
            .values(**settled, check_failures=0, resolves_to_edge=bindparam("edge"))
        )
        self.proof_is_missing = database.prepare(
            update(HostnameClaim)
            .where(*of_claim)
            .values(
                **settled,
                check_failures=HostnameClaim.check_failures + 1,
                resolves_to_edge=bindparam("edge"),
            )
            .returning(HostnameClaim.check_failures)
        )


class ChallengeRounds:
    """Checks due challenges in its own threads, under a lease.

    Two workers never check the same one, and another worker takes over after a crash.
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
        self._busy: Counter[int] = Counter()
        self._running: set[Future[None]] = set()
        self._due_challenges = database.prepare(_due_challenges(), tenant=None)
        self._claims = _ClaimStatements(database)
        until: Any = bindparam("until", type_=_TIME)
        now_: Any = bindparam("now", type_=_TIME)
        self._lease_challenges = database.prepare(
            update(HostnameChallenge)
            .where(HostnameChallenge.id.in_(ids_of("ids")), HostnameChallenge.next_check_at <= now_)
            .values(next_check_at=until)
            .returning(HostnameChallenge.id)
        )
        next_at = bindparam("next", type_=_TIME)
        self._postpone = database.prepare(
            update(HostnameChallenge)
            .where(HostnameChallenge.id == bindparam("of_id"))
            .where(HostnameChallenge.next_check_at == until)
            .values(next_check_at=next_at)
        )
        self._expire = database.prepare(
            update(HostnameChallenge)
            .where(
                HostnameChallenge.id == bindparam("of_id"),
                HostnameChallenge.state == "pending",
                HostnameChallenge.next_check_at == until,
            )
            .values(state="expired", next_check_at=null())
        )

    def run(self) -> int:
        """Starts due checks, as many as there are free threads, and returns their number.

        Raises Unavailable.
        """
        with self._lock:
            self._running = {one for one in self._running if not one.done()}
            free = _THREADS - len(self._running)
        if not free:
            return 0
        now = self._now()
        until = now + LEASE
        chosen = self._chosen(self._read(now), free)
        leased = self._leased(chosen, now, until)
        for due in leased:
            with self._lock:
                self._busy[due.user_id] += 1
                self._running.add(self._threads.submit(self._check, due, until))
        return len(leased)

    def wait(self) -> None:
        """Waits until all started checks have stored their results."""
        with self._lock:
            running = list(self._running)
        wait(running)

    def close(self) -> None:
        """Completes running checks, and starts no others."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _read(self, now: datetime) -> list[_Due]:
        challenges = [_due(row, now) for row in self._due_challenges(now=now)]
        return challenges + [_repeated(row) for row in self._claims.due(now=now)]

    def _chosen(self, due: Sequence[_Due], free: int) -> list[_Due]:
        with self._lock:
            busy = Counter(self._busy)
        chosen: list[_Due] = []
        for one in due:
            if len(chosen) < free and busy[one.user_id] < _MOST_OF_USER:
                busy[one.user_id] += 1
                chosen.append(one)
        return chosen

    def _leased(self, chosen: Sequence[_Due], now: datetime, until: datetime) -> list[_Due]:
        """Returns those of `chosen` that no other worker has leased in the meantime."""
        if not chosen:
            return []
        times = {"now": now, "until": until}
        ids = ids_as_json(one.id for one in chosen if not one.is_repeated)
        hostnames = as_json([one.hostname for one in chosen if one.is_repeated])
        challenges, claims = self._database.run_pipeline(
            EVERYBODY,
            (self._lease_challenges, {"ids": ids, **times}),
            (self._claims.lease, {"hostnames": hostnames, **times}),
        )
        own_ids, own_names = {one for (one,) in challenges}, {one for (one,) in claims}
        return [
            one
            for one in chosen
            if (one.hostname in own_names if one.is_repeated else one.id in own_ids)
        ]

    def _check(self, due: _Due, until: datetime) -> None:
        try:
            if due.is_repeated:
                self._check_again(due, until)
            else:
                self._check_pending(due, until)
        except NotFound:
            pass  # The user was deleted.
        except Unavailable as error:
            _log.warning("Check of %s postponed: %s", due.hostname, error.detail)
        except Exception:
            # It is retried after the lease expires.
            _log.exception("Check of %s failed", due.hostname)
        finally:
            with self._lock:
                self._busy[due.user_id] -= 1
                if not self._busy[due.user_id]:
                    del self._busy[due.user_id]

    def _check_pending(self, due: _Due, until: datetime) -> None:
        this = {"of_id": due.id, "until": until}
        if due.is_over:
            self._database.run_pipeline(due.user_id, (self._expire, this))
        elif again := self._later(due):
            self._database.run_pipeline(due.user_id, (self._postpone, {**this, "next": again}))
        elif due.tokens:
            target = Target(due.id, due.user_id, due.hostname, due.tokens, until)
            try:
                self._proving.prove(_WORKER, target)
            except Conflict as refusal:
                _log.info(
                    "Control of %s is proven, but the hostname cannot be claimed: %s",
                    due.hostname,
                    refusal.detail,
                )

    def _check_again(self, due: _Due, until: datetime) -> None:
        this = {"of_hostname": due.hostname, "user_id": due.user_id, "until": until}
        if again := self._later(due):
            calls = (self._claims.postpone, {**this, "next": again})
            self._database.run_pipeline(due.user_id, calls)
            return
        checked = self._proving.check(due.user_id, due.hostname, due.tokens) if due.tokens else None
        now = self._now()
        settled = {
            **this,
            "now": now,
            "next": now + RECHECKED,
            "edge": checked.resolves_to_edge if checked else None,
        }
        with self._database.begin(due.user_id) as session:
            lock_user(session, due.user_id)
            if checked and checked.is_proven:
                self._proven_again(session, due, settled)
                return
            missing = session.run(self._claims.proof_is_missing, **settled)
            if missing and missing[0][0] == _MISSED:
                reason = checked.seen[0].detail if checked else "The challenge was deleted."
                self._notices.add(session, due.user_id, [due.hostname], "proof_missing", reason)

    def _proven_again(self, session: Transaction, due: _Due, settled: dict[str, Any]) -> None:
        missed = session.run(
            self._claims.failures,
            of_hostname=due.hostname,
            user_id=due.user_id,
            until=settled["until"],
        )
        session.run(self._claims.proof_is_there, **settled)
        if missed and missed[0][0] >= _MISSED:
            reason = "The proof was found again."
            self._notices.add(session, due.user_id, [due.hostname], "verified", reason)

    def _later(self, due: _Due) -> datetime | None:
        """Returns when to check if the domain was queried too often."""
        seconds = self._limits.take(due.hostname, due.user_id)
        return self._now() + timedelta(seconds=seconds) if seconds is not None else None


def _due(row: Row, now: datetime) -> _Due:
    challenge_id, user_id, hostname, state, expires_at, *tokens = row
    is_over = state == "pending" and expires_at <= now
    return _Due(challenge_id, user_id, hostname, Tokens(*tokens), is_over, False)


def _repeated(row: Row) -> _Due:
    user_id, hostname, *tokens = row
    return _Due(0, user_id, hostname, Tokens(*tokens) if tokens[0] else None, False, True)


def _due_challenges() -> Any:
    """Selects the first due challenge of each user, then the second of each, so that one user's
    many challenges delay nobody.
    """
    turn = func.row_number().over(
        partition_by=HostnameChallenge.user_id,
        order_by=(HostnameChallenge.next_check_at, HostnameChallenge.id),
    )
    due = (
        select(HostnameChallenge, turn.label("turn"))
        .where(HostnameChallenge.next_check_at <= bindparam("now", type_=_TIME))
        .subquery()
    )
    columns = (
        *("id", "user_id", "hostname", "state", "expires_at"),
        *("txt_token", "cname_label", "http_token"),
    )
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
        .where(
            HostnameClaim.next_check_at <= bindparam("now", type_=_TIME),
            HostnameClaim.proof == "challenge",
        )
        .subquery()
    )
    challenge = HostnameChallenge
    return (
        select(
            due.c.user_id,
            due.c.hostname,
            challenge.txt_token,
            challenge.cname_label,
            challenge.http_token,
        )
        .select_from(due)
        .outerjoin(
            challenge, (challenge.hostname == due.c.hostname) & (challenge.user_id == due.c.user_id)
        )
        .order_by(due.c.turn, due.c.next_check_at, due.c.hostname)
        .limit(_MOST_READ)
    )
