"""Challenges prove control of hostnames by records that users set (docs/how-to/hostnames.md)."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from ...errors import Conflict, Finding, NotFound, TooManyRequests, user_not_found
from ...gateways.admission.limiter import TENANT, Slots
from ...gateways.database import Database, Transaction
from ...models import HostnameChallenge, HostnameClaim, User
from ...pki.names.ownership import Decision
from ..audit.log import Audit
from ..hostnames.ownership import OwnershipRules
from ..hostnames.refusals import require_allowed
from ..principal import Principal
from ..quotas.limits import require_of
from ..user_lock import lock_user
from .checks import Checks, Tokens
from .limits import CheckLimits
from .proving import Proving, challenge_path, next_check, target_of
from .views import ChallengeView, challenge_view, state_at, tokens_of

LASTS = timedelta(hours=72)
_TOKEN_BYTES = 16
_BUSY_SECONDS = 5


class Challenges:
    """The use cases of challenges."""

    def __init__(
        self,
        database: Database,
        checks: Checks,
        proving: Proving,
        limits: CheckLimits,
        rules: OwnershipRules,
        audit: Audit,
        now: Callable[[], datetime],
        *,
        concurrent_checks: int,
    ) -> None:
        """`concurrent_checks` limits the requests that wait for a check, because it takes seconds.
        At most half of them are of one tenant.
        """
        self._database = database
        self._checks = checks
        self._proving = proving
        self._limits = limits
        self._policy = rules.policy
        self._audit = audit
        self._now = now
        self._slots = Slots(concurrent_checks, lambda: None, waiting_per_slot=0)

    def create(
        self, principal: Principal, user_id: int, hostname: str
    ) -> tuple[ChallengeView, bool]:
        """Returns the challenge for the hostname, and whether it is new; an active one is kept.

        Raises NotFound (no such user), Conflict (an operator must grant the hostname, no record can
        prove it, or too many challenges are pending).
        """
        path = challenge_path(user_id, hostname)
        write = self._audit.begin(principal, "challenge.create", user_id, path)
        with write as (session, entry):
            lock_user(session, user_id)
            challenge = _found(session, user_id, hostname)
            is_owner = _is_owner(session, user_id, hostname)
            now = self._now()
            is_new = (
                challenge is None or state_at(challenge, is_owner=is_owner, now=now) == "expired"
            )
            if challenge is None or is_new:
                self._require_possible(user_id, hostname, is_owner=is_owner)
                _require_quota(session, user_id, now)
                challenge = _renewed(session, challenge, user_id, hostname, now)
            entry.add(changed=is_new)
        return self._view(challenge, is_owner=is_owner), is_new

    def get(self, user_id: int, hostname: str) -> ChallengeView:
        """Returns the challenge. Raises NotFound."""
        with self._database.begin(user_id) as session:
            challenge = _required(session, user_id, hostname)
            is_owner = _is_owner(session, user_id, hostname)
        return self._view(challenge, is_owner=is_owner)

    def delete(self, principal: Principal, user_id: int, hostname: str) -> None:
        """Deletes the challenge; its records no longer prove anything. Raises NotFound."""
        with self._database.begin(user_id) as session:
            lock_user(session, user_id)
            challenge = _required(session, user_id, hostname)
            self._proving.withdraw(session, principal, challenge)
            session.delete(challenge)
            session.flush()
            path = challenge_path(user_id, hostname)
            self._audit.record(session, principal, "challenge.delete", user_id, path)

    def verify(self, principal: Principal, user_id: int, hostname: str) -> ChallengeView:
        """Checks the challenge now, claims the hostname if proven, and returns the challenge.

        Raises NotFound, TooManyRequests, Conflict (the challenge has expired, or the hostname is
        proven but cannot be claimed).
        """
        path = challenge_path(user_id, hostname)
        with self._audit.of_refusals(principal, "challenge.verify", user_id, path):
            with self._database.begin(user_id) as session:
                challenge = _required(session, user_id, hostname)
                is_owner = _is_owner(session, user_id, hostname)
            if state_at(challenge, is_owner=is_owner, now=self._now()) == "expired":
                raise _expired(hostname)
            self._acquire_slot(user_id, hostname)
            try:
                self._proving.prove(principal, target_of(challenge))
            finally:
                self._slots.release(TENANT.get())
        return self.get(user_id, hostname)

    def _acquire_slot(self, user_id: int, hostname: str) -> None:
        """Acquires a slot for a check, which the caller must release. Raises TooManyRequests."""
        if not self._slots.try_acquire(TENANT.get()):
            raise TooManyRequests(
                "Too many hostnames are being checked at once. Retry after the delay in "
                "Retry-After. The service also checks by itself.",
                retry_after=_BUSY_SECONDS,
            )
        wait: int | None = _BUSY_SECONDS
        try:
            wait = self._limits.count(hostname, user_id)
        finally:
            if wait is not None:
                self._slots.release(TENANT.get())
        if wait is not None:
            raise TooManyRequests(
                f"The domain of {hostname}, or its DNS servers, were queried too often. "
                "Retry after the delay in Retry-After. The service also checks by itself.",
                retry_after=wait,
            )

    def _require_possible(self, user_id: int, hostname: str, *, is_owner: bool) -> None:
        restriction = None if is_owner else self._policy.restriction(hostname)
        if restriction == "forbidden":
            require_allowed(Decision(forbidden=[hostname]), user_id, "hostname")
        if restriction == "reserved":
            require_allowed(Decision(reserved=[hostname]), user_id, "hostname")
        if not any(self._checks.records(hostname, Tokens("", "", ""))):
            raise Conflict(
                f"{hostname} is too long for a challenge: no DNS record can prove it. "
                "Ask an operator to grant it."
            )

    def _view(self, challenge: HostnameChallenge, *, is_owner: bool) -> ChallengeView:
        refused = self._proving.http_refused(challenge.user_id, challenge.hostname)
        return challenge_view(
            challenge,
            self._checks.records(challenge.hostname, tokens_of(challenge)),
            http_refused=refused is not None,
            is_owner=is_owner,
            now=self._now(),
        )


def _found(session: Transaction, user_id: int, hostname: str) -> HostnameChallenge | None:
    return session.execute(
        select(HostnameChallenge).where(
            HostnameChallenge.user_id == user_id, HostnameChallenge.hostname == hostname
        )
    ).scalar_one_or_none()


def _required(session: Transaction, user_id: int, hostname: str) -> HostnameChallenge:
    challenge = _found(session, user_id, hostname)
    if challenge is None:
        if session.get(User, user_id) is None:
            raise user_not_found(user_id)
        raise NotFound(f"User {user_id} has no challenge for {hostname}.")
    return challenge


def _is_owner(session: Transaction, user_id: int, hostname: str) -> bool:
    """Returns whether the user proved the hostname, or got it by a grant."""
    claim = select(HostnameClaim.hostname).where(
        HostnameClaim.hostname == hostname,
        HostnameClaim.user_id == user_id,
        HostnameClaim.proof.in_(["challenge", "operator"]),
    )
    return session.execute(claim).first() is not None


def _require_quota(session: Transaction, user_id: int, now: datetime) -> None:
    """Raises Conflict if the user has too many pending challenges."""
    pending = select(func.count()).where(
        HostnameChallenge.user_id == user_id, HostnameChallenge.is_pending(now)
    )
    used = session.execute(pending).scalar_one() + 1
    require_of(session, user_id, "pending_challenges", used)


def _expired(hostname: str) -> Conflict:
    detail = f"The challenge for {hostname} has expired, or the hostname was released."
    hint = "POST the challenge again, and set the new records."
    finding = Finding("challenge_expired", "hostname", detail, hint)
    return Conflict("The challenge has expired.", errors=[finding])


def _renewed(
    session: Transaction,
    challenge: HostnameChallenge | None,
    user_id: int,
    hostname: str,
    now: datetime,
) -> HostnameChallenge:
    """Returns a challenge with new random parts that replaces `challenge`."""
    if challenge is not None:
        session.delete(challenge)
        session.flush()
    tokens: dict[str, Any] = {name: secrets.token_hex(_TOKEN_BYTES) for name in Tokens._fields}
    fresh = HostnameChallenge(
        user_id=user_id,
        hostname=hostname,
        **tokens,
        state="pending",
        created_at=now,
        expires_at=now + LASTS,
        attempts=0,
    )
    fresh.next_check_at = next_check(fresh, now)
    session.add(fresh)
    session.flush()
    return fresh
