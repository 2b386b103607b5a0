"""The rules of ownership: a table of cases, and a model of many users at random."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from customer_certificates.pki.names.ownership import (
    NONE,
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
from customer_certificates.pki.names.policy import NamePolicy

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
ME, OTHER, THIRD = 1, 2, 3
WWW, WILD = "www.example.com", "*.example.com"
CA = Evidence("public_ca", NOW - DAY, NOW + DAY)
LAPSED = Evidence("public_ca", NOW - 90 * DAY, NOW - DAY)
CHALLENGE = Evidence("challenge", NOW)
OPERATOR = Evidence("operator", NOW)
PROOFS = {
    "none": UNPROVEN,
    "lapsed": LAPSED,
    "ca": CA,
    "challenge": CHALLENGE,
    "operator": OPERATOR,
}


def ask(
    names: Sequence[str],
    evidence: Evidence,
    *claims: Claim,
    proof_required: bool = False,
    user_id: int = ME,
) -> Decision:
    """Returns the decision if the user claims `names` beside the existing `claims`."""
    return decide(
        user_id,
        names,
        evidence,
        existing(user_id, claims),
        NamePolicy(),
        NOW,
        proof_required=proof_required,
    )


def existing(user_id: int, claims: Sequence[Claim]) -> Existing:
    beneath: dict[str, list[Claim]] = {}
    for claim in claims:
        wildcard = covering(claim.hostname)
        if wildcard and claim.user_id != user_id:
            beneath.setdefault(wildcard, []).append(claim)
    return Existing({claim.hostname: claim for claim in claims}, beneath)


@pytest.mark.parametrize(
    ("mine", "others", "outcome"),
    [
        *(("none", other, "taken") for other in PROOFS),
        ("ca", "none", "released"),
        ("ca", "lapsed", "released"),
        ("ca", "ca", "taken"),
        ("ca", "challenge", "taken"),
        ("ca", "operator", "taken"),
        ("challenge", "none", "released"),
        ("challenge", "lapsed", "released"),
        ("challenge", "ca", "released"),
        ("challenge", "challenge", "contested"),
        ("challenge", "operator", "taken"),
        *(("operator", other, "released") for other in PROOFS),
    ],
)
def test_a_name_that_another_user_claims(mine: str, others: str, outcome: str) -> None:
    other = Claim(WWW, OTHER, PROOFS[others])
    decision = ask([WWW], PROOFS[mine], other)

    assert decision.is_refused is (outcome != "released")
    assert decision.taken == ([WWW] if outcome == "taken" else [])
    assert decision.contested == ([other] if outcome == "contested" else [])
    assert decision.release == ([other] if outcome == "released" else [])
    assert decision.write == decision.new == ([WWW] if outcome == "released" else [])


@pytest.mark.parametrize(("mine", "others"), [(WWW, WILD), (WILD, WWW)])
@pytest.mark.parametrize("my_proof", ["none", "ca", "challenge", "operator"])
@pytest.mark.parametrize("others_proof", PROOFS)
def test_a_name_above_or_below_the_claim_of_another_user(
    mine: str, others: str, my_proof: str, others_proof: str
) -> None:
    other = Claim(others, OTHER, PROOFS[others_proof])
    decision = ask([mine], PROOFS[my_proof], other)

    assert decision.taken == ([mine] if my_proof == "none" else [])
    is_released = my_proof != "none" and others_proof == "none"
    assert decision.release == ([other] if is_released else [])
    assert decision.write == ([] if my_proof == "none" else [mine])


def test_a_wildcard_covers_one_label_only() -> None:
    others = [Claim("a.b.example.com", OTHER, UNPROVEN), Claim("example.com", OTHER, UNPROVEN)]

    assert not ask([WILD], UNPROVEN, *others).is_refused


def test_own_claims_never_conflict_and_keep_the_stronger_proof() -> None:
    mine = [Claim(WWW, ME, CHALLENGE), Claim(WILD, ME, UNPROVEN)]

    kept = ask([WWW, WILD], UNPROVEN, *mine)
    assert (kept.write, kept.new, kept.is_refused) == ([], [], False)
    better = ask([WWW, WILD], CA, *mine)
    assert (better.write, better.new) == ([WILD], [])


def test_a_renewal_moves_the_end_of_a_proof_and_never_back() -> None:
    longer = Evidence("public_ca", NOW, NOW + 90 * DAY)

    assert ask([WWW], longer, Claim(WWW, ME, CA)).write == [WWW]
    assert ask([WWW], CA, Claim(WWW, ME, longer)).write == []
    assert ask([WWW], CA, Claim(WWW, ME, LAPSED)).write == [WWW]
    assert ask([WWW], UNPROVEN, Claim(WWW, ME, LAPSED)).write == []


def test_a_required_proof_applies_to_new_claims_only() -> None:
    names = [WWW, "shop.example.com", "mine.example.com", "theirs.example.org"]
    claims = [Claim("mine.example.com", ME, UNPROVEN), Claim(names[3], OTHER, UNPROVEN)]
    decision = ask(names, UNPROVEN, *claims, proof_required=True)

    assert (decision.unproven, decision.taken) == (names[:2], names[3:])
    assert ask([names[2]], UNPROVEN, *claims, proof_required=True).is_refused is False
    assert ask(names[:3], CA, *claims, proof_required=True).is_refused is False


def test_old_conflicting_claims_stay_until_one_is_proven() -> None:
    before = [Claim(WILD, OTHER, UNPROVEN), Claim(WWW, ME, UNPROVEN)]

    assert ask([WWW], UNPROVEN, *before) == Decision()
    assert ask([WWW], CA, *before).release == [before[0]]


def test_a_decision_lists_all_reasons() -> None:
    names = ["*.co.uk", "printer.local", WWW, "new.example.net"]
    decision = ask(names, UNPROVEN, Claim(WWW, OTHER, CA), proof_required=True)

    assert decision.forbidden == ["*.co.uk"]
    assert decision.reserved == ["printer.local"]
    assert decision.taken == [WWW]
    assert decision.unproven == ["new.example.net"]


def test_an_operator_grants_reserved_names_but_not_forbidden_ones() -> None:
    decision = ask(["*.co.uk", "printer.local", "*.github.io"], OPERATOR)

    assert decision.forbidden == ["*.co.uk"]
    assert decision.reserved == []
    # Kept without another grant.
    assert not ask(["printer.local"], UNPROVEN, Claim("printer.local", ME, OPERATOR)).is_refused


@pytest.mark.parametrize(
    ("change", "proof"),
    [
        ({}, "public_ca"),
        ({"proves_hostnames": False}, "none"),
        ({"proves_hostnames": None}, "none"),
        ({"not_servable": "no_key"}, "none"),
        ({"serve_not_before": NOW + DAY}, "none"),
        ({"serve_not_after": NOW - DAY}, "none"),
        ({"serve_not_after": None}, "none"),
    ],
)
def test_a_certificate_proves_its_names_with_its_key_and_a_valid_chain(
    change: dict[str, Any], proof: Proof
) -> None:
    stored: dict[str, Any] = {
        "proves_hostnames": True,
        "not_servable": None,
        "not_before": NOW - DAY,
        "serve_not_before": NOW - DAY,
        "serve_not_after": NOW + DAY,
    }
    evidence = public_ca(**(stored | change), at=NOW)

    assert evidence.proof == proof
    assert evidence == (CA if proof == "public_ca" else UNPROVEN)


NAMES = [WWW, "shop.example.com", WILD, "a.www.example.com", "*.www.example.com", "example.com"]


class Ownership(RuleBasedStateMachine):
    """Users claim names with every proof while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: dict[str, Claim] = {}
        self.now = NOW

    @rule(
        user_id=st.integers(1, 3),
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
        proof=st.sampled_from(["none", "public_ca", "challenge", "operator"]),
        days=st.integers(1, 20),
        proof_required=st.booleans(),
    )
    def claim(
        self, user_id: int, names: list[str], proof: Proof, days: int, proof_required: bool
    ) -> None:
        until = self.now + days * DAY if proof == "public_ca" else None
        evidence = UNPROVEN if proof == "none" else Evidence(proof, self.now, until)
        before = dict(self.claims)
        decision = decide(
            user_id,
            names,
            evidence,
            existing(user_id, list(before.values())),
            NamePolicy(),
            self.now,
            proof_required=proof_required,
        )
        if decision.is_refused:
            return
        for one in decision.release:
            assert one.user_id != user_id
            assert one.evidence.strength(self.now) < evidence.strength(self.now) or (
                proof == "operator"
            )
            del self.claims[one.hostname]
        for name in decision.write:
            old = before.get(name)
            if old and old.user_id == user_id:
                assert old.evidence.strength(self.now) <= evidence.strength(self.now)
            self.claims[name] = Claim(name, user_id, evidence)
        for name in names:
            assert self.claims[name].user_id == user_id

    @rule(name=st.sampled_from(NAMES))
    def release(self, name: str) -> None:
        self.claims.pop(name, None)

    @rule(days=st.integers(1, 30))
    def wait(self, days: int) -> None:
        self.now += days * DAY

    @invariant()
    def no_unproven_claim_stands_above_or_beneath_another_users(self) -> None:
        for claim in self.claims.values():
            above = self.claims.get(covering(claim.hostname) or "")
            if above and above.user_id != claim.user_id:
                assert claim.evidence.strength(self.now) > NONE
                assert above.evidence.strength(self.now) > NONE


Ownership.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
test_no_unproven_claim_survives_beside_anothers = Ownership.TestCase
