"""Hostnames are claimed and released, in the transactions that activate and deactivate."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from ...errors import NotFound
from ...gateways.database import Database, Transaction
from ...gateways.database.sql_functions import names_of
from ...models import CONTENT, Certificate
from ...pki.names.ownership import (
    UNPROVEN,
    Claim,
    Decision,
    Evidence,
    Existing,
    Proof,
    covering,
    decide,
    public_ca,
)
from ...pki.names.policy import NamePolicy
from ..quotas.limits import Quota, require
from .certificate_hostnames import CertificateHostnames
from .claims import HostnameClaims
from .notices import HostnameNotices
from .preview import HostnameChanges, Replaced, ServedHostnames
from .refusals import require_allowed, taken


class OwnershipRules(NamedTuple):
    """Which names are restricted, and whether a name is claimed only with a proof of control."""

    policy: NamePolicy
    proof_required: bool


class Outcome(NamedTuple):
    """The result of a proof of control.

    claimed: the user owns the hostname. taken_over: the same, and the user `other` owned it before.
    contested: the user `other` proved control by a challenge, too; nothing was changed.
    """

    result: Literal["claimed", "taken_over", "contested"]
    other: int | None = None


class Hostnames:
    """Applies the rules of pki/names/ownership.py within the transaction of a use case.

    The transaction has locked the row of the user.

    Call only one method that claims or releases in a transaction, after the statements that insert
    intermediates. Each locks its hostnames, in its own order.
    """

    def __init__(
        self, database: Database, now: Callable[[], datetime], rules: OwnershipRules
    ) -> None:
        self._now = now
        self._rules = rules
        self.of_certificates = CertificateHostnames(database)
        self._claims = HostnameClaims(database)
        self._notices = HostnameNotices(database, now)
        self._served = ServedHostnames(database)

    def claim(
        self,
        session: Transaction,
        user_id: int,
        hostnames: str,
        evidence: Evidence,
        *,
        no_longer: str = "[]",
        field: str = "active",
    ) -> None:
        """Claims the hostnames (JSON) for the user.

        Releases those of `no_longer` (JSON) that no active certificate has any more. Raises
        Conflict, after which the transaction must be rolled back.
        """
        names, former_names = names_of(hostnames), names_of(no_longer)
        if not names and not former_names:
            return
        self._claims.lock(session, [*names, *former_names])
        self._release_unused(session, user_id, former_names)
        existing = self._claims.existing(session, user_id, names, evidence)
        decision = self._decide(user_id, names, evidence, existing, self._now())
        self._require(session, user_id, decision, evidence, field)
        self._apply(session, user_id, decision, evidence, existing, field)
        if decision.new:
            self._notices.resend_gained(session, user_id, decision.new)

    def require_claimable(
        self, session: Transaction, user_id: int, hostnames: str, evidence: Evidence, at: datetime
    ) -> None:
        """Raises Conflict if the user could not claim the hostnames (JSON) at the time `at`.

        The decision uses `evidence` and the current claims. Nothing is claimed.
        """
        names = names_of(hostnames)
        existing = self._claims.existing(session, user_id, names, evidence)
        decision = self._decide(user_id, names, evidence, existing, at)
        self._require(session, user_id, decision, evidence, "activate_at")

    def claim_proven(
        self,
        session: Transaction,
        user_id: int,
        hostname: str,
        kind: Literal["challenge", "operator"],
        now: datetime,
        *,
        incumbent_failed: bool = False,
    ) -> Outcome:
        """Claims `hostname` for the user, who proved control or got a grant.

        `incumbent_failed`: a repeated check of another user's challenge failed, so that claim gives
        way. Raises Conflict: the hostname is reserved, another user has a stronger proof, or the
        user's quota is exceeded.
        """
        evidence = Evidence(kind, now)
        self._claims.lock(session, [hostname])
        existing = self._claims.existing(session, user_id, [hostname], evidence)
        other = existing.claims.get(hostname)
        if incumbent_failed and other and other.evidence.proof == "challenge":
            weakened = Claim(hostname, other.user_id, UNPROVEN)
            existing = existing._replace(claims={**existing.claims, hostname: weakened})
        decision = self._decide(user_id, [hostname], evidence, existing, now)
        if decision.contested:
            return Outcome("contested", decision.contested[0].user_id)
        self._require(session, user_id, decision, evidence, "hostname")
        self._apply(session, user_id, decision, evidence, existing, "hostname")
        self._notices.resend(session, decision.new)
        if kind == "operator" and decision.new and not other:
            self._notices.add(session, user_id, [hostname], "transferred", kind)
        if other and other.user_id != user_id:
            return Outcome("taken_over", other.user_id)
        return Outcome("claimed")

    def release(self, session: Transaction, user_id: int | None, hostname: str, reason: str) -> int:
        """Deletes the claim of `hostname`, notifies its user, and returns the user's id.

        Raises NotFound, also if the user is not `user_id` (None: any user).
        """
        self._claims.lock(session, [hostname])
        existing = self._claims.existing(session, 0, [hostname], UNPROVEN)
        claim = existing.claims.get(hostname)
        if claim is None or user_id not in (None, claim.user_id):
            raise NotFound(_not_owned(user_id, hostname))
        with session.across_tenants():
            self._notices.resend(session, [hostname, *_wildcards_above([hostname])])
            self._notices.add(session, claim.user_id, [hostname], "released", reason)
            self._claims.release(session, claim.user_id, [hostname])
        return claim.user_id

    def release_unused(self, session: Transaction, user_id: int, hostnames: str) -> None:
        """Releases those hostnames (JSON) that no active certificate of the user has any more.

        Hostnames that an operator granted or a challenge proved stay the user's.
        """
        names = names_of(hostnames)
        self._claims.lock(session, names)
        self._release_unused(session, user_id, names)

    def release_all(self, session: Transaction, user_id: int) -> None:
        """Deletes all claims of a user before the user is deleted."""
        if names := self._claims.all_of(session, user_id):
            self._claims.lock(session, names)
            self._resend_above(session, user_id, names)
            self._claims.release(session, user_id, names)

    def changes(
        self, user_id: int, hostnames: Sequence[str], evidence: Evidence, replaced: Replaced | None
    ) -> HostnameChanges:
        """Returns what activating a certificate for these names, for `replaced`, would change."""
        existing = self._claims.existing(None, user_id, hostnames, evidence)
        decision = self._decide(user_id, hostnames, evidence, existing, self._now())
        return self._served.changes(user_id, hostnames, replaced, decision)

    def granted(self) -> Evidence:
        """Returns the proof that an operator gives by granting names."""
        return Evidence("operator", self._now())

    def _decide(
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

    def _require(
        self, session: Transaction, user_id: int, decision: Decision, evidence: Evidence, field: str
    ) -> None:
        """Raises Conflict if the decision rejects a hostname, or a quota is exceeded.

        Quotas limit unproven hostnames, and hostnames that challenges prove: these need no
        certificate, so no other quota limits them.
        """
        require_allowed(decision, user_id, field)
        limited: dict[Proof, Quota] = {"none": "unproven_hostnames", "challenge": "hostnames"}
        quota = limited.get(evidence.proof)
        if quota and decision.new:
            unproven = evidence.proof == "none"
            number, quotas = self._claims.number(session, user_id, unproven=unproven)
            require(quotas, quota, number + len(decision.new))

    def _apply(
        self,
        session: Transaction,
        user_id: int,
        decision: Decision,
        evidence: Evidence,
        existing: Existing,
        field: str,
    ) -> None:
        """Stores the decision, with notices to users and events for agents.

        The zones of the names must be locked. Raises Conflict if another user was first.
        """
        names = [claim.hostname for claim in decision.release]
        # Wildcards of other users cover one name less, or one more.
        above = [
            wildcard
            for wildcard in _wildcards_above(decision.new)
            if (claim := existing.claims.get(wildcard)) and claim.user_id != user_id
        ]
        if names or above:
            with session.across_tenants():
                self._notices.resend(session, [*names, *above, *_wildcards_above(names)])
                for loser_id, lost in _by_user(decision.release).items():
                    self._notices.add(session, loser_id, lost, "released", evidence.proof)
                self._claims.release_others(session, user_id, names)
        if gained := [name for name in names if name in decision.new]:
            self._notices.add(session, user_id, gained, "transferred", evidence.proof)
        if decision.write:
            written = self._claims.write(session, user_id, decision.write, evidence, self._now())
            # The lock of a zone prevents this. If it fails, the first user keeps the name.
            if others := [name for name in decision.write if name not in written]:
                raise taken(others, user_id, field)

    def _release_unused(self, session: Transaction, user_id: int, names: Sequence[str]) -> None:
        released = self._claims.release_unused(session, user_id, names) if names else []
        self._resend_above(session, user_id, released)

    def _resend_above(self, session: Transaction, user_id: int, released: Sequence[str]) -> None:
        """Queues other users' wildcards again that cover the names `released` from now on."""
        if above := _wildcards_above(released):
            existing = self._claims.existing(session, user_id, above, UNPROVEN)
            if any(claim.user_id != user_id for claim in existing.claims.values()):
                with session.across_tenants():
                    self._notices.resend(session, above)


def evidence_of(content: Mapping[str, Any], at: datetime) -> Evidence:
    """Returns what a certificate with the columns CONTENT proves at the time `at`."""
    return public_ca(
        proves_hostnames=content["proves_hostnames"],
        not_servable=content["not_servable"],
        not_before=content["not_before"],
        serve_not_before=content["serve_not_before"],
        serve_not_after=content["serve_not_after"],
        at=at,
    )


def evidence_of_row(certificate: Certificate, at: datetime) -> Evidence:
    """Returns what a stored certificate proves at the time `at`."""
    return evidence_of({name: getattr(certificate, name) for name in CONTENT}, at)


def _not_owned(user_id: int | None, hostname: str) -> str:
    """Returns the same message whether another user owns the hostname or nobody."""
    if user_id is None:
        return f"Nobody owns {hostname}."
    return f"User {user_id} does not own {hostname}."


def _wildcards_above(names: Sequence[str]) -> list[str]:
    return [*dict.fromkeys(wildcard for name in names if (wildcard := covering(name)))]


def _by_user(claims: Sequence[Claim]) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for claim in claims:
        names.setdefault(claim.user_id, []).append(claim.hostname)
    return names
