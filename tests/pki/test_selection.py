from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customer_certificates.pki.selection import (
    Candidate,
    best,
    decide,
    key_type_of,
    next_change,
    why_not_servable,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WWW = "www.example.com"
WILDCARD = "*.example.com"


def a_candidate(certificate_id: int = 1, **changes: Any) -> Candidate:
    """An active, servable certificate for www.example.com."""
    return Candidate(
        certificate_id=certificate_id,
        user_id=1,
        version=1,
        active=True,
        hostnames=(WWW,),
        not_before=NOW - DAY,
        not_after=NOW + DAY,
        trust="public",
        key_type="ecdsa",
        has_key=True,
    )._replace(**changes)


@pytest.mark.parametrize(
    ("less", "reason"),
    [
        ({"hostnames": (WILDCARD,), "not_after": NOW + 9 * DAY}, "less_exact"),
        ({"trust": "private", "not_after": NOW + 9 * DAY}, "less_trusted"),
        ({"trust": "self_signed"}, "less_trusted"),
        ({"trust": "incomplete"}, "less_trusted"),
        ({"not_after": NOW + DAY / 2}, "ends_sooner"),
        ({}, "older"),
    ],
)
def test_the_better_candidate_is_selected(less: dict[str, Any], reason: str) -> None:
    chosen = a_candidate(2)
    rejection = a_candidate(1 if reason == "older" else 3, **less)
    for order in ([chosen, rejection], [rejection, chosen]):
        selected, rejected = decide(WWW, order, NOW)
        assert selected == {"ecdsa": chosen}
        assert rejected == [(rejection, reason, chosen)]


@pytest.mark.parametrize("trust", ["public", "private", "self_signed"])
def test_candidates_are_compared_by_trust(trust: Any) -> None:
    order = ["public", "private", "self_signed", "incomplete"]
    less = order[order.index(trust) + 1]
    selected, _ = decide(WWW, [a_candidate(1, trust=trust), a_candidate(2, trust=less)], NOW)

    assert selected["ecdsa"].certificate_id == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"active": False}, "inactive"),
        ({"trust": "unreadable", "key_type": None, "not_after": None}, "unreadable"),
        ({"has_key": False}, "no_key"),
        ({"not_servable": "no_key"}, "no_key"),
        ({"not_servable": "not_loadable"}, "not_loadable"),
        ({"not_after": NOW - timedelta(microseconds=1)}, "expired"),
        ({"not_before": NOW + timedelta(microseconds=1)}, "not_yet_valid"),
        ({"serve_not_after": NOW - timedelta(microseconds=1)}, "chain_expired"),
        ({"serve_not_before": NOW + timedelta(microseconds=1)}, "chain_not_yet_valid"),
        ({"key_type": "rsa"}, "other_key_type"),
    ],
)
def test_an_unservable_candidate_is_never_selected(changes: dict[str, Any], reason: str) -> None:
    unfit = a_candidate(1, **changes)

    assert decide(WWW, [unfit], NOW, "ecdsa") == ({}, [(unfit, reason, None)])
    worst = a_candidate(2, hostnames=(WILDCARD,), trust="incomplete")
    selected, rejected = decide(WWW, [unfit, worst], NOW, "ecdsa")
    assert selected == {"ecdsa": worst}
    assert rejected == [(unfit, reason, None)]


@pytest.mark.parametrize(
    "exact",
    [
        {"key_type": "rsa"},
        {"trust": "incomplete"},
        {"not_after": NOW - DAY},
        {"has_key": False},
        {"trust": "unreadable", "key_type": None},
    ],
)
def test_the_owner_is_determined_before_the_comparison(exact: dict[str, Any]) -> None:
    """If the owner of a name has no servable certificate, no other user's is served."""
    mine = a_candidate(1, user_id=1, **exact)
    others = a_candidate(2, user_id=2, hostnames=(WILDCARD,))
    for order in ([mine, others], [others, mine]):
        selected, rejected = decide(WWW, order, NOW)
        assert others not in selected.values()
        assert (others, "other_owner", None) in rejected
    assert decide("shop.example.com", [mine, others], NOW).selected == {"ecdsa": others}
    inactive = mine._replace(active=False)
    assert decide(WWW, [inactive, others], NOW).selected == {"ecdsa": others}


def test_a_certificate_is_served_for_owned_names_only() -> None:
    lost = a_candidate(1, hostnames=(WWW, "a.example.com"), owned=("a.example.com",))

    assert decide(WWW, [lost], NOW) == ({}, [(lost, "other_owner", None)])
    assert decide("a.example.com", [lost], NOW).selected == {"ecdsa": lost}


def test_a_candidate_is_servable_from_its_first_to_its_last_instant() -> None:
    one = a_candidate(not_before=NOW, not_after=NOW + DAY)

    assert decide(WWW, [one], NOW).selected
    assert decide(WWW, [one], NOW + DAY).selected


def test_a_chain_that_expires_earlier_counts_as_the_expiry() -> None:
    """The certificate is valid for longer than its chain."""
    rejection = a_candidate(2, not_after=NOW + 9 * DAY, serve_not_after=NOW + DAY / 2)
    chosen = a_candidate(1)

    assert decide(WWW, [rejection, chosen], NOW) == (
        {"ecdsa": chosen},
        [(rejection, "ends_sooner", chosen)],
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"active": False}, None),
        ({"not_servable": "not_loadable", "not_after": NOW - DAY}, "not_loadable"),
        ({"serve_not_after": NOW - DAY}, "chain_expired"),
        ({"not_after": NOW - DAY, "serve_not_after": NOW - DAY}, "expired"),
    ],
)
def test_the_reason_of_an_unservable_candidate(changes: dict[str, Any], reason: Any) -> None:
    assert why_not_servable(a_candidate(**changes), NOW) == reason


def test_time_alone_changes_the_selection() -> None:
    ends = a_candidate(1, not_after=NOW + DAY, trust="public")
    begins = a_candidate(2, not_before=NOW + 2 * DAY, not_after=NOW + 4 * DAY)
    stays = a_candidate(3, trust="self_signed", not_after=NOW + 9 * DAY)
    all_of_them = [ends, begins, stays]

    seen, at = [], NOW
    while True:
        seen.append(decide(WWW, all_of_them, at).selected["ecdsa"].certificate_id)
        after = next_change(all_of_them, at)
        if after is None or after > NOW + 8 * DAY:
            break
        at = after
    assert seen == [1, 3, 2, 3]


def test_one_candidate_is_selected_for_each_key_type() -> None:
    ecdsa, rsa = a_candidate(1), a_candidate(2, key_type="rsa", trust="self_signed")
    selected, rejected = decide(WWW, [ecdsa, rsa], NOW)

    assert (selected, rejected) == ({"ecdsa": ecdsa, "rsa": rsa}, [])


def test_candidates_for_other_names_are_ignored() -> None:
    others = [
        a_candidate(hostnames=(name,))
        for name in ("example.com", "a.www.example.com", "*.www.example.com", "*.com")
    ]
    assert decide(WWW, others, NOW) == ({}, [])


def test_a_wildcard_matches_itself() -> None:
    wildcard, exact = a_candidate(1, hostnames=(WILDCARD,)), a_candidate(2)

    assert decide(WILDCARD, [wildcard, exact], NOW).selected == {"ecdsa": wildcard}


def test_a_client_gets_the_most_trusted_of_its_key_types() -> None:
    ecdsa, rsa = a_candidate(1), a_candidate(2, key_type="rsa")
    both = {"ecdsa": ecdsa, "rsa": rsa}

    assert best(WWW, both) == ecdsa
    assert best(WWW, both, {"rsa"}) == rsa
    assert best(WWW, both, {"ed25519"}) is None
    assert best(WWW, {"ecdsa": ecdsa._replace(trust="self_signed"), "rsa": rsa}) == rsa
    assert best(WWW, {"ecdsa": ecdsa._replace(hostnames=(WILDCARD,)), "rsa": rsa}) == rsa


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("ECDSA-P-256", "ecdsa"), ("RSA-2048", "rsa"), ("Ed25519", "ed25519"), ("Ed448", "ed448")],
)
def test_key_types_are_derived_from_algorithms(algorithm: str, kind: str) -> None:
    assert key_type_of(algorithm) == kind


def with_a_chain(one: Candidate, begin: datetime, end: datetime) -> Candidate:
    """`one` with a chain that is valid from `begin` to `end`."""
    assert one.not_before
    assert one.not_after
    return one._replace(
        serve_not_before=max(begin, one.not_before), serve_not_after=min(end, one.not_after)
    )


one_candidate = st.builds(
    a_candidate,
    st.integers(1, 5),
    active=st.booleans(),
    hostnames=st.sampled_from([(WWW,), (WILDCARD,), (WWW, WILDCARD), ("else.where",)]),
    not_before=st.sampled_from([NOW - DAY, NOW + DAY]),
    not_after=st.sampled_from([NOW - DAY, NOW, NOW + DAY, datetime.max.replace(tzinfo=UTC)]),
    trust=st.sampled_from(["public", "private", "self_signed", "incomplete", "unreadable"]),
    key_type=st.sampled_from(["ecdsa", "rsa"]),
    has_key=st.booleans(),
    not_servable=st.sampled_from([None, "no_key", "not_loadable"]),
)
candidates = st.lists(
    st.one_of(
        one_candidate,
        st.builds(
            with_a_chain,
            one_candidate,
            st.sampled_from([NOW - DAY, NOW + DAY / 2]),
            st.sampled_from([NOW - DAY, NOW, NOW + DAY / 2]),
        ),
    ),
    unique_by=lambda one: one.certificate_id,
)


@given(candidates, st.randoms())
def test_the_order_of_candidates_does_not_matter(given: list[Candidate], random: Any) -> None:
    selected, rejected = decide(WWW, given, NOW)
    mixed = random.sample(given, len(given))

    assert decide(WWW, mixed, NOW).selected == selected
    for one in selected.values():
        assert one.active
        assert one.has_key
        assert one.trust != "unreadable"
        assert one.not_before
        assert one.not_after
        assert one.not_before <= NOW <= one.not_after
        assert why_not_servable(one, NOW) is None
    named = [one for one in given if {WWW, WILDCARD} & {*one.hostnames}]
    assert len(selected) + len(rejected) == len(named)


@given(candidates)
def test_the_selection_is_constant_between_changes(given: list[Candidate]) -> None:
    after = next_change(given, NOW)
    before_it = (after or NOW + 30 * DAY) - timedelta(microseconds=1)

    assert decide(WWW, given, before_it).selected == decide(WWW, given, NOW).selected
