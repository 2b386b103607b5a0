"""Rules for hostname claims. No I/O.

A claim covers exactly its name. An unproven claim never coexists with another user's claim of the
same name, or of one that covers it or that it covers. Proven claims of different users may cover
each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from .hostnames import address_of, wildcard_of
from .policy import NamePolicy

# How control of a name was proven: granted by an operator, by a challenge that the service checked
# itself, by a certificate that a public CA issued for it, or not at all.
Proof = Literal["operator", "challenge", "public_ca", "none"]

OPERATOR, CHALLENGE, PUBLIC_CA, LAPSED, NONE = 4, 3, 2, 1, 0
_STRENGTHS: dict[Proof, int] = {
    "operator": OPERATOR,
    "challenge": CHALLENGE,
    "public_ca": PUBLIC_CA,
    "none": NONE,
}


class Evidence(NamedTuple):
    """A proof for all names of a request, valid from `since` to `until`; None: forever."""

    proof: Proof = "none"
    since: datetime | None = None
    until: datetime | None = None

    def strength(self, at: datetime) -> int:
        """Returns how strong the proof is at the time `at`."""
        strength = _STRENGTHS[self.proof]
        return LAPSED if strength and self.until is not None and self.until < at else strength


UNPROVEN = Evidence()


class Claim(NamedTuple):
    """A user's claim of a name."""

    hostname: str
    user_id: int
    evidence: Evidence


class Existing(NamedTuple):
    """The existing claims that matter to a request.

    `claims`: by hostname, the claims of the names and of wildcards that cover them. `beneath`: by
    wildcard, claims of other users for names that it covers. These are all unproven ones and, if
    the request proves nothing, one with any proof.
    """

    claims: Mapping[str, Claim] = {}
    beneath: Mapping[str, Sequence[Claim]] = {}


@dataclass(slots=True)
class Decision:
    """The result of a request, which is rejected if any of the last five lists has a name.

    `write` are names whose claims are stored with the proof of the request. `new` are the names
    that the user did not have. `release` are other users' claims to delete. `contested` are claims
    with a challenge of their own.
    """

    write: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    release: list[Claim] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    reserved: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    contested: list[Claim] = field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        """Whether the request must change nothing."""
        return bool(
            self.forbidden or self.reserved or self.taken or self.unproven or self.contested
        )

    def claim(self, name: str, own: Claim | None, proof: Evidence) -> None:
        """Adds a claim to write, unless the user's `own` claim has the same proof."""
        if own is None:
            self.new.append(name)
        if own is None or own.evidence != proof:
            self.write.append(name)


def covering(hostname: str) -> str | None:
    """Returns the wildcard that covers `hostname`; None: there is none."""
    wildcard = wildcard_of(hostname)
    return None if wildcard == hostname or address_of(hostname) else wildcard


def public_ca(
    *,
    proves_hostnames: bool | None,
    not_servable: str | None,
    not_before: datetime | None,
    serve_not_before: datetime | None,
    serve_not_after: datetime | None,
    at: datetime,
) -> Evidence:
    """Returns what a stored certificate proves at the time `at`.

    Certificates are public: without the private key they prove nothing.
    """
    if not proves_hostnames or not_servable is not None:
        return UNPROVEN
    if serve_not_before is None or serve_not_after is None:
        return UNPROVEN
    if not serve_not_before <= at <= serve_not_after:
        return UNPROVEN
    return Evidence("public_ca", not_before, serve_not_after)


def decide(
    user_id: int,
    hostnames: Iterable[str],
    evidence: Evidence,
    existing: Existing,
    policy: NamePolicy,
    at: datetime,
    *,
    proof_required: bool,
) -> Decision:
    """Returns the result if the user claims `hostnames` with `evidence` at the time `at`."""
    decision = Decision()
    released: dict[str, Claim] = {}
    for name in dict.fromkeys(hostnames):
        held = existing.claims.get(name)
        own = held if held and held.user_id == user_id else None
        other = held if held and not own else None
        related = [claim for claim in _related(user_id, name, existing) if claim is not held]
        proof = strongest(evidence, own.evidence if own else UNPROVEN, at)
        strength = proof.strength(at)
        other_strength = other.evidence.strength(at) if other else NONE
        if restriction := _restriction(policy, name, own, evidence):
            (decision.forbidden if restriction == "forbidden" else decision.reserved).append(name)
        elif other and strength == CHALLENGE == other_strength:
            decision.contested.append(other)
        elif other and not _displaces(strength, other_strength):
            decision.taken.append(name)
        # A claim older than the proof requirement stays unchanged.
        elif strength == NONE and not own and (related or proof_required):
            (decision.taken if related else decision.unproven).append(name)
        else:
            if strength > NONE:
                unproven = [claim for claim in related if claim.evidence.strength(at) == NONE]
                released |= {claim.hostname: claim for claim in (other, *unproven) if claim}
            decision.claim(name, own, proof)
    decision.release = list(released.values())
    return decision


def _restriction(
    policy: NamePolicy, name: str, own: Claim | None, evidence: Evidence
) -> str | None:
    """Returns the restriction of a name; none if the user already has a claim of it."""
    restriction = None if own else policy.restriction(name)
    return None if restriction == "reserved" and evidence.proof == "operator" else restriction


def _displaces(strength: int, other: int) -> bool:
    """Returns whether a claim of the same name is replaced. Expired proofs replace nothing."""
    return strength >= PUBLIC_CA and (strength > other or strength == OPERATOR)


def _related(user_id: int, name: str, existing: Existing) -> list[Claim]:
    wildcard = covering(name)
    above = existing.claims.get(wildcard) if wildcard else None
    related = (above, *existing.beneath.get(name, ()))
    return [claim for claim in related if claim and claim.user_id != user_id]


def strongest(new: Evidence, old: Evidence, at: datetime) -> Evidence:
    """Returns the stronger proof; of two that are equally strong the one that lasts longer."""
    if new.strength(at) != old.strength(at):
        return max(new, old, key=lambda proof: proof.strength(at))
    if new.until is None or old.until is None:
        return old
    return max(old, new, key=lambda proof: proof.until or at)
