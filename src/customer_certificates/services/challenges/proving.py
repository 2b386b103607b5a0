"""Stores results of challenge checks: the hostname is claimed, contested, or neither.

Checks precede transactions, so no transaction waits for DNS. A transaction verifies that nothing
has changed since the check began. Otherwise the check is repeated.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from sqlalchemy import bindparam, func, insert, select, update

from ...errors import Conflict, Finding
from ...gateways.database import Database, Transaction, text_param
from ...models import HostnameChallenge, HostnameClaim, HostnameTransfer
from ...pki.names.ownership import CHALLENGE, LAPSED, UNPROVEN, Claim, covering
from ..audit.log import Audit
from ..hostnames.claims import HostnameClaims
from ..hostnames.notices import HostnameNotices, NoticeKind
from ..hostnames.ownership import Hostnames
from ..principal import Principal
from ..user_lock import lock_user
from .checks import Checked, Checks, Tokens
from .views import tokens_of

RECHECKED = timedelta(days=7)
CONTESTED = timedelta(hours=72)
_MOST_TRANSFERS = 3
_TRANSFERS_IN = timedelta(days=30)
# How often a check is repeated because the claim changed before the transaction.
_MOST_ATTEMPTS = 3

# The pauses after the first checks, in minutes. Later checks use the last one.
_PAUSES = (1, 5, 15, 60, 240)


class Target(NamedTuple):
    """A challenge as read before a check. `leased_until`: a worker is checking it."""

    id: int
    user_id: int
    hostname: str
    tokens: Tokens
    leased_until: datetime | None = None


class _Incumbent(NamedTuple):
    """The owner when the check begins; `has_failed`: the owner's own challenge failed."""

    claim: Claim | None
    has_failed: bool


class _Locked(NamedTuple):
    """A transaction that has locked a challenge, for a principal."""

    session: Transaction
    principal: Principal
    challenge: HostnameChallenge


class _Changed(Exception):  # noqa: N818 - it ends a transaction that is tried again
    """The owner of the hostname has changed since the check began."""


class Proving:
    """Checks challenges, and claims the hostnames that they prove."""

    def __init__(
        self,
        database: Database,
        checks: Checks,
        hostnames: Hostnames,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._checks = checks
        self._hostnames = hostnames
        self._claims = HostnameClaims(database)
        self._notices = HostnameNotices(database, now)
        self._audit = audit
        self._now = now
        self._tokens = database.prepare(
            select(*(getattr(HostnameChallenge, name) for name in Tokens._fields)).where(
                HostnameChallenge.hostname == text_param("hostname"),
                HostnameChallenge.user_id == bindparam("user_id"),
            ),
            tenant=None,
        )

    def check(self, user_id: int, hostname: str, tokens: Tokens) -> Checked:
        """Checks the records of a challenge. Raises Unavailable."""
        return self._checks.check(
            hostname, tokens, http_refused=self.http_refused(user_id, hostname)
        )

    def http_refused(self, user_id: int, hostname: str) -> str | None:
        """Returns why a file cannot prove `hostname`; None if it can."""
        wildcard = covering(hostname)
        above = self._claims.claim_of(wildcard) if wildcard else None
        if above and above.user_id != user_id and above.evidence.strength(self._now()) >= LAPSED:
            return (
                f"{hostname} is under another user's wildcard, so a file there proves "
                "nothing. Use the TXT record."
            )
        return None

    def prove(self, principal: Principal, target: Target) -> None:
        """Checks a challenge, and stores the result.

        Stores nothing if the challenge was deleted or renewed in the meantime, or if another worker
        is checking it. Raises Conflict (the hostname is proven, and cannot be claimed),
        Unavailable.
        """
        for _ in range(_MOST_ATTEMPTS):
            checked = self.check(target.user_id, target.hostname, target.tokens)
            incumbent = self._incumbent(target) if checked.is_proven else None
            try:
                self._store(principal, target, checked, incumbent)
                return
            except _Changed:
                continue
            except Conflict:
                self._store(principal, target, checked, None, is_refused=True)
                raise
        self._store(principal, target, checked, None)  # pyrefly: ignore[unbound-name]

    def _incumbent(self, target: Target) -> _Incumbent:
        claim = self._claims.claim_of(target.hostname)
        if claim is None or claim.user_id == target.user_id or claim.evidence.proof != "challenge":
            return _Incumbent(claim, has_failed=False)
        rows = self._tokens(hostname=target.hostname, user_id=claim.user_id)
        if not rows:
            return _Incumbent(claim, has_failed=True)
        checked = self.check(claim.user_id, target.hostname, Tokens(*rows[0]))
        return _Incumbent(claim, checked.is_missing)

    def _store(
        self,
        principal: Principal,
        target: Target,
        checked: Checked,
        incumbent: _Incumbent | None,
        *,
        is_refused: bool = False,
    ) -> None:
        """Stores the result of a check.

        `incumbent` is None if the hostname is not to be claimed, or cannot be (`is_refused`).
        Raises _Changed, Conflict.
        """
        now = self._now()
        with self._database.begin(target.user_id) as session:
            lock_user(session, target.user_id)
            challenge = session.get(HostnameChallenge, target.id, with_for_update=True)
            if challenge is None or not _is_unchanged(challenge, target):
                return
            challenge.last_checked_at = now
            challenge.last_result = msgspec.json.encode(checked.seen).decode()
            challenge.resolves_to_edge = checked.resolves_to_edge
            if target.leased_until:
                challenge.attempts += 1
                challenge.next_check_at = next_check(challenge, now)
            locked = _Locked(session, principal, challenge)
            if incumbent is not None:
                self._store_proven(locked, checked, incumbent, now)
            elif challenge.state == "contesting" and (is_refused or challenge.expires_at <= now):
                removed = "The challenger's record was removed."
                self._close(locked, "An operator decided." if is_refused else removed)

    def _store_proven(
        self, locked: _Locked, checked: Checked, incumbent: _Incumbent, now: datetime
    ) -> None:
        session, challenge = locked.session, locked.challenge
        user_id, hostname = challenge.user_id, challenge.hostname
        self._require_unchanged(session, user_id, hostname, incumbent.claim)
        is_decided = challenge.expires_at <= now
        has_failed = incumbent.has_failed and (challenge.state != "contesting" or is_decided)
        if _is_displaced(incumbent.claim, user_id, now, has_failed=has_failed):
            _count_transfer(session, incumbent.claim, user_id, now)
        outcome = self._hostnames.claim_proven(
            session, user_id, hostname, "challenge", now, incumbent_failed=has_failed
        )
        if outcome.result == "contested":
            self._contest(locked, outcome.other, now)
            return
        was_verified = challenge.state == "verified"
        challenge.state, challenge.next_check_at = "verified", None
        session.flush()
        session.execute(
            update(HostnameClaim)
            .where(HostnameClaim.hostname == hostname, HostnameClaim.user_id == user_id)
            .values(
                checked_at=now,
                check_failures=0,
                next_check_at=now + RECHECKED,
                resolves_to_edge=checked.resolves_to_edge,
            )
        )
        if not was_verified or outcome.result == "taken_over":
            method = next(seen.method for seen in checked.seen if seen.result == "found")
            self._notices.add(session, user_id, [hostname], "verified", method)
            self._record(locked, "challenge.verify", method=method)

    def _require_unchanged(
        self, session: Transaction, user_id: int, hostname: str, before: Claim | None
    ) -> None:
        """Raises _Changed if the claim of the hostname differs from `before`."""
        self._claims.lock(session, [hostname])
        existing = self._claims.existing(session, user_id, [hostname], UNPROVEN)
        if existing.claims.get(hostname) != before:
            raise _Changed

    def _contest(self, locked: _Locked, other: int | None, now: datetime) -> None:
        """Starts, continues or closes the contest between two proven challenges."""
        challenge = locked.challenge
        if challenge.state != "contesting":
            challenge.state = "contesting"
            challenge.expires_at = challenge.next_check_at = now + CONTESTED
            self._notify(locked, other, "contested", "Two users proved control by a challenge.")
            self._record(locked, "challenge.contest")
        elif challenge.expires_at <= now:
            self._close(locked, "Both records still exist.", other)

    def withdraw(
        self, session: Transaction, principal: Principal, challenge: HostnameChallenge
    ) -> None:
        """Closes the contest, if any, of a locked challenge before the challenge is deleted."""
        if challenge.state == "contesting":
            locked = _Locked(session, principal, challenge)
            self._close(locked, "The challenger deleted the challenge.")

    def _close(self, locked: _Locked, reason: str, other: int | None = None) -> None:
        """Closes a contest in favor of the owner."""
        challenge = locked.challenge
        challenge.state, challenge.next_check_at = "expired", None
        if other is None:
            claim = self._claims.claim_of(challenge.hostname)
            other = claim.user_id if claim else None
        self._notify(locked, other, "contest_closed", reason)
        self._record(locked, "challenge.close")

    def _notify(self, locked: _Locked, other: int | None, kind: NoticeKind, reason: str) -> None:
        """Notifies both parties and the operators."""
        session, challenge = locked.session, locked.challenge
        session.flush()
        names = [challenge.hostname]
        self._notices.add(session, challenge.user_id, names, kind, reason)
        if other is not None and other != challenge.user_id:
            with session.across_tenants():
                self._notices.add(session, other, names, kind, reason)

    def _record(self, locked: _Locked, action: str, **detail: str) -> None:
        session, principal, challenge = locked
        session.flush()
        path = challenge_path(challenge.user_id, challenge.hostname)
        self._audit.record(session, principal, action, challenge.user_id, path, detail=detail)


def next_check(challenge: HostnameChallenge, now: datetime) -> datetime | None:
    """Returns when a worker checks next; an expired challenge is checked one last time."""
    if challenge.state not in ("pending", "contesting"):
        return None
    if challenge.state == "contesting":
        return challenge.expires_at
    pause = timedelta(minutes=_PAUSES[min(challenge.attempts, len(_PAUSES) - 1)])
    return min(now + pause, challenge.expires_at)


def challenge_path(user_id: int, hostname: str) -> str:
    """Returns the path of a challenge, for the audit log."""
    return f"/users/{user_id}/hostnames/{hostname}/challenge"


def target_of(challenge: HostnameChallenge, leased_until: datetime | None = None) -> Target:
    """Returns the parts of a challenge that a check needs."""
    return Target(
        challenge.id, challenge.user_id, challenge.hostname, tokens_of(challenge), leased_until
    )


def _is_unchanged(challenge: HostnameChallenge, target: Target) -> bool:
    """Returns whether the challenge is still the checked one, and not leased to another worker."""
    return (
        tokens_of(challenge) == target.tokens
        and challenge.state in ("pending", "contesting", "verified")
        and target.leased_until in (None, challenge.next_check_at)
    )


def _count_transfer(session: Transaction, claim: Claim | None, user_id: int, now: datetime) -> None:
    """Records that the user takes over the hostname.

    Raises Conflict if it was transferred too often.
    """
    if claim is None:
        return
    hostname = claim.hostname
    recent = select(func.count()).where(
        HostnameTransfer.hostname == hostname, HostnameTransfer.at > now - _TRANSFERS_IN
    )
    with session.across_tenants():
        number = session.execute(recent).scalar_one()
    if number >= _MOST_TRANSFERS:
        raise _too_many_transfers(hostname)
    transfer = {"hostname": hostname, "from_user_id": claim.user_id, "to_user_id": user_id}
    session.execute(insert(HostnameTransfer).values(**transfer, at=now))


def _is_displaced(claim: Claim | None, user_id: int, now: datetime, *, has_failed: bool) -> bool:
    """Returns whether a challenge takes a proven hostname from another user."""
    if claim is None or claim.user_id == user_id:
        return False
    strength = claim.evidence.strength(now)
    return LAPSED <= strength < CHALLENGE or (strength == CHALLENGE and has_failed)


def _too_many_transfers(hostname: str) -> Conflict:
    detail = (
        f"Challenges transferred {hostname} between users {_MOST_TRANSFERS} times within "
        f"{_TRANSFERS_IN.days} days."
    )
    hint = f"Ask an operator to decide: PUT /hostnames/{hostname}."
    return Conflict(
        "The hostname changed owners too often; nothing was changed.",
        errors=[Finding("hostname_taken", "hostname", detail, hint)],
    )
