"""Steps shared by all changes of ownership; services/hostnames/ownership.py has the use cases."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from ...gateways.database import Database, Transaction
from ...pki.names.ownership import (
    UNPROVEN,
    Claim,
    Decision,
    Evidence,
    Existing,
    Proof,
    covering,
    decide,
)
from ...pki.names.policy import NamePolicy
from ..quotas.limits import Quota, require
from .claims import HostnameClaims
from .notices import HostnameNotices
from .refusals import taken


class OwnershipRules(NamedTuple):
    """Which names are restricted, and whether a name is claimed only with a proof of control."""

    policy: NamePolicy
    proof_required: bool


class OwnershipChanges:
    """Decides by the rules, and applies a decision: claims, notices, events for agents.

    The zones of the names are locked by the caller.
    """

    def __init__(
        self, database: Database, now: Callable[[], datetime], rules: OwnershipRules
    ) -> None:
        self.claims = HostnameClaims(database)
        self.notices = HostnameNotices(database, now)
        self._now = now
        self._rules = rules

    def decide(
        self,
        user_id: int,
        names: Sequence[str],
        evidence: Evidence,
        existing: Existing,
        at: datetime,
    ) -> Decision:
        """Returns the effects if the user claims `names` at the time `at`."""
        policy, proof_required = self._rules
        return decide(user_id, names, evidence, existing, policy, at, proof_required=proof_required)

    def require_quota(
        self, session: Transaction, user_id: int, decision: Decision, evidence: Evidence
    ) -> None:
        """Raises Conflict if a quota is exceeded.

        It limits unproven hostnames, and hostnames that challenges prove: these need no
        certificate, so no other quota limits them.
        """
        limited: dict[Proof, Quota] = {"none": "unproven_hostnames", "challenge": "hostnames"}
        quota = limited.get(evidence.proof)
        if quota and decision.new:
            unproven = evidence.proof == "none"
            number, quotas = self.claims.number(session, user_id, unproven=unproven)
            require(quotas, quota, number + len(decision.new))

    def apply(
        self,
        session: Transaction,
        user_id: int,
        decision: Decision,
        evidence: Evidence,
        existing: Existing,
        field: str,
    ) -> None:
        """Stores the decision. Raises Conflict if another user was first."""
        names = [one.hostname for one in decision.release]
        # Wildcards of other users cover one name less, or one more.
        above = [
            wildcard
            for wildcard in wildcards_above(decision.new)
            if (claim := existing.claims.get(wildcard)) and claim.user_id != user_id
        ]
        if names or above:
            with session.across_tenants():
                self.notices.resend(session, [*names, *above, *wildcards_above(names)])
                for loser_id, lost in _by_user(decision.release).items():
                    self.notices.add(session, loser_id, lost, "released", evidence.proof)
                self.claims.release_others(session, user_id, names)
        if gained := [name for name in names if name in decision.new]:
            self.notices.add(session, user_id, gained, "transferred", evidence.proof)
        if decision.write:
            written = self.claims.write(session, user_id, decision.write, evidence, self._now())
            # The lock of a zone prevents this. If it fails, the first user keeps the name.
            if others := [name for name in decision.write if name not in written]:
                raise taken(others, user_id, field)

    def free(self, session: Transaction, user_id: int, names: Sequence[str]) -> None:
        """Frees hostnames that no active certificate of the user has any more."""
        freed = self.claims.free(session, user_id, names) if names else []
        self.resend_above(session, user_id, freed)

    def resend_above(self, session: Transaction, user_id: int, freed: Sequence[str]) -> None:
        """Queues other users' wildcards again that cover the names `freed` from now on."""
        if above := wildcards_above(freed):
            existing = self.claims.existing(session, user_id, above, UNPROVEN)
            if any(claim.user_id != user_id for claim in existing.claims.values()):
                with session.across_tenants():
                    self.notices.resend(session, above)


def wildcards_above(names: Sequence[str]) -> list[str]:
    """The wildcards that cover `names`."""
    return [*dict.fromkeys(wildcard for name in names if (wildcard := covering(name)))]


def _by_user(claims: Sequence[Claim]) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for claim in claims:
        names.setdefault(claim.user_id, []).append(claim.hostname)
    return names
