"""Hostnames are claimed and released, in the transactions that activate and deactivate."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from ...errors import NotFound
from ...gateways.database import Database, Transaction
from ...gateways.database.sql_functions import names_of
from ...models import CONTENT, Certificate
from ...pki.names.ownership import UNPROVEN, Claim, Evidence, public_ca
from .certificate_hostnames import CertificateHostnames
from .changes import OwnershipChanges, OwnershipRules, wildcards_above
from .preview import HostnameChanges, Replaced, ServedHostnames
from .refusals import require_allowed


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

    Call only one method that claims or frees in a transaction, after the statements that insert
    intermediates. Each locks its hostnames, in its own order.
    """

    def __init__(
        self, database: Database, now: Callable[[], datetime], rules: OwnershipRules
    ) -> None:
        self._now = now
        self.of_certificates = CertificateHostnames(database)
        self._ownership = OwnershipChanges(database, now, rules)
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

        Frees those of `no_longer` (JSON) that no active certificate has any more. Raises Conflict,
        after which the transaction must be rolled back.
        """
        names, gone = names_of(hostnames), names_of(no_longer)
        if not names and not gone:
            return
        self._ownership.claims.lock(session, [*names, *gone])
        self._ownership.free(session, user_id, gone)
        existing = self._ownership.claims.existing(session, user_id, names, evidence)
        decision = self._ownership.decide(user_id, names, evidence, existing, self._now())
        require_allowed(decision, user_id, field)
        self._ownership.require_quota(session, user_id, decision, evidence)
        self._ownership.apply(session, user_id, decision, evidence, existing, field)
        if decision.new:
            self._ownership.notices.resend_gained(session, user_id, decision.new)

    def require_claimable(
        self,
        session: Transaction,
        user_id: int,
        hostnames: str,
        evidence: Evidence,
        at: datetime,
        field: str = "activate_at",
    ) -> None:
        """Raises Conflict if the user could not claim the hostnames (JSON) at the time `at`.

        The decision uses `evidence` and the current claims. Nothing is claimed.
        """
        names = names_of(hostnames)
        existing = self._ownership.claims.existing(session, user_id, names, evidence)
        decision = self._ownership.decide(user_id, names, evidence, existing, at)
        require_allowed(decision, user_id, field)
        self._ownership.require_quota(session, user_id, decision, evidence)

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
        self._ownership.claims.lock(session, [hostname])
        existing = self._ownership.claims.existing(session, user_id, [hostname], evidence)
        other = existing.claims.get(hostname)
        if incumbent_failed and other and other.evidence.proof == "challenge":
            weakened = Claim(hostname, other.user_id, UNPROVEN)
            existing = existing._replace(claims={**existing.claims, hostname: weakened})
        decision = self._ownership.decide(user_id, [hostname], evidence, existing, now)
        if decision.contested:
            return Outcome("contested", decision.contested[0].user_id)
        require_allowed(decision, user_id, "hostname")
        self._ownership.require_quota(session, user_id, decision, evidence)
        self._ownership.apply(session, user_id, decision, evidence, existing, "hostname")
        self._ownership.notices.resend(session, decision.new)
        if kind == "operator" and decision.new and not other:
            self._ownership.notices.add(session, user_id, [hostname], "transferred", kind)
        if other and other.user_id != user_id:
            return Outcome("taken_over", other.user_id)
        return Outcome("claimed")

    def is_in_use(self, session: Transaction, user_id: int, hostname: str) -> bool:
        """Returns whether the user owns the hostname, and has an active certificate for it."""
        return self._ownership.claims.is_in_use(session, user_id, hostname)

    def release(self, session: Transaction, user_id: int | None, hostname: str, reason: str) -> int:
        """Deletes the claim of `hostname` (of the user `user_id`, if given), notifies its user, and
        returns the user's id. Raises NotFound."""
        self._ownership.claims.lock(session, [hostname])
        existing = self._ownership.claims.existing(session, 0, [hostname], UNPROVEN)
        claim = existing.claims.get(hostname)
        if claim is None or user_id not in (None, claim.user_id):
            raise NotFound(_not_owned(user_id, hostname))
        with session.across_tenants():
            self._ownership.notices.resend(session, [hostname, *wildcards_above([hostname])])
            self._ownership.notices.add(session, claim.user_id, [hostname], "released", reason)
            self._ownership.claims.release(session, claim.user_id, [hostname])
        return claim.user_id

    def free(self, session: Transaction, user_id: int, hostnames: str) -> None:
        """Frees those hostnames (JSON) that no active certificate of the user has any more.

        Hostnames that an operator granted or a challenge proved stay the user's.
        """
        names = names_of(hostnames)
        self._ownership.claims.lock(session, names)
        self._ownership.free(session, user_id, names)

    def release_all(self, session: Transaction, user_id: int) -> None:
        """Deletes all claims of a user before the user is deleted."""
        if names := self._ownership.claims.all_of(session, user_id):
            self._ownership.claims.lock(session, names)
            self._ownership.resend_above(session, user_id, names)
            self._ownership.claims.release(session, user_id, names)

    def changes(
        self, user_id: int, hostnames: Sequence[str], evidence: Evidence, replaced: Replaced | None
    ) -> HostnameChanges:
        """Returns what activating a certificate for these names would change, in place of
        `replaced`."""
        existing = self._ownership.claims.present(user_id, hostnames, evidence)
        decision = self._ownership.decide(user_id, hostnames, evidence, existing, self._now())
        return self._served.changes(user_id, hostnames, replaced, decision)

    def granted(self) -> Evidence:
        """Returns the proof that an operator gives by granting names."""
        return Evidence("operator", self._now())


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
