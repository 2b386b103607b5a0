"""Nobody is ever served for a hostname whose best claim is another user's.

Hypothesis lets three users upload, activate, replace and delete certificates for overlapping names,
prove names, and lets time pass. A model of the rules, written anew here, says who owns each name.
`--long` looks for a counterexample for much longer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from falcon.testing import TestClient
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from customer_certificates.app import create_app
from customer_certificates.errors import Conflict, NotFound
from customer_certificates.gateways.database import Database
from customer_certificates.pki.selection import Candidate, decide
from customer_certificates.services.hostnames.ownership import Hostnames

from .conftest import Backend
from .ownership import hostnames_on
from .pki import authority
from .pki.authority import a_leaf
from .resources import an_upload_of, base64_of, codes, der_of, pem
from .resources.feed_reader import Reader
from .tables import add_users
from .traefik_choice import is_placeholder, may_serve

DAY = timedelta(days=1)
WWW, API, WILDCARD = "www.model.example", "api.model.example", "*.model.example"
ASKED = (WWW, API, "other.model.example")
NAMES = ((WWW,), (API,), (WILDCARD,), (WWW, WILDCARD))
KINDS = {"none": 0, "public_ca": 2, "challenge": 3, "operator": 4}


@dataclass(frozen=True)
class Pair:
    """An upload: a certificate of a public CA or a self-signed one, and its key."""

    names: tuple[str, ...]
    is_public: bool
    key_type: str
    days: int


@dataclass(frozen=True)
class Stored:
    user: int
    id: int
    pair: Pair
    active: bool


@dataclass(frozen=True)
class Claim:
    user: int
    kind: str
    until: datetime | None = None

    def strength(self, now: datetime) -> int:
        strength = KINDS[self.kind]
        return 1 if strength and self.until and self.until < now else strength


pairs = st.builds(
    Pair,
    names=st.sampled_from(NAMES),
    is_public=st.booleans(),
    key_type=st.sampled_from(["ecdsa", "rsa"]),
    days=st.sampled_from([2, 80]),
)
users = st.integers(0, 2)
names = st.sampled_from([WWW, API, WILDCARD])


@cache
def upload_of(pair: Pair) -> dict[str, Any]:
    name = pair.names[0]
    key: Any = authority.rsa_key() if pair.key_type == "rsa" else authority.ec_key(name)
    faults = {"hostnames": pair.names, "key": key, "start": -9 * DAY, "end": pair.days * DAY}
    if not pair.is_public:
        faults["signer"] = key
    leaf = a_leaf("Root" if pair.is_public else name, name, **faults)
    return an_upload_of(leaf, private_key=base64_of(der_of(key)))


def ends(pair: Pair) -> datetime:
    return authority.NOW + pair.days * DAY


def neighbors(one: str, other: str) -> bool:
    """Whether one of the names is the wildcard that covers the other."""
    return one != other and WILDCARD in (one, other)


class World:
    """The service that is under test."""

    def __init__(
        self, client: TestClient, engine: sa.Engine, database: Database, set_now: Callable[..., Any]
    ) -> None:
        self.client = client
        self.engine = engine
        self.database = database
        self.set_now = set_now


class Ownership(RuleBasedStateMachine):
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.now = authority.NOW
        self.world.set_now(self.now)
        self.client = self.world.client
        self.users = add_users(self.world.engine, 3)
        self.certificates: list[Stored] = []
        self.claims: dict[str, Claim] = {}
        self.reader = Reader(self.client, self.world.engine)
        self.known: dict[int, list[Candidate]] = {}

    def teardown(self) -> None:
        for user in self.users:
            assert self.client.simulate_delete(f"/users/{user}").status_code == 204

    # The rules

    @rule(user=users, pair=pairs, grant=st.booleans())
    def upload(self, user: int, pair: Pair, grant: bool) -> None:
        owner = self.users[user]
        answer = self.client.simulate_post(
            f"/users/{owner}/certificates",
            json={**upload_of(pair), "active": True, "grant_hostnames": grant},
        )
        new = Claim(owner, "operator") if grant else self.evidence(owner, pair)
        after = self.claimed(pair.names, new, self.claims)
        assert (answer.status_code == 201) == (after is not None), answer.text
        if after is None:
            assert codes(answer.json["errors"]) == {"hostname_taken"}
            return
        number = int(answer.headers["Location"].rpartition("/")[2])
        self.certificates.append(Stored(owner, number, pair, True))
        self.claims = after

    @rule(which=st.integers(0, 99), active=st.booleans())
    def set_active(self, which: int, active: bool) -> None:
        if not self.certificates:
            return
        which %= len(self.certificates)
        one = self.certificates[which]
        answer = self.client.simulate_patch(
            f"/users/{one.user}/certificates/{one.id}/active",
            json={"active": active, "allow_lost_hostnames": True},
        )
        after: dict[str, Claim] | None = self.claims
        if active and not one.active:
            after = self.claimed(one.pair.names, self.evidence(one.user, one.pair), self.claims)
        assert (answer.status_code == 202) == (after is not None), answer.text
        if after is not None:
            self.certificates[which] = replace(one, active=active)
            self.claims = after
            self.free(one.user, one.pair.names)

    @rule(which=st.integers(0, 99), pair=pairs)
    def renew(self, which: int, pair: Pair) -> None:
        if not self.certificates:
            return
        which %= len(self.certificates)
        one = self.certificates[which]
        answer = self.client.simulate_put(
            f"/users/{one.user}/certificates/{one.id}",
            json={**upload_of(pair), "allow_lost_hostnames": True},
        )
        # A certificate that is already stored changes nothing, not even the ownership.
        if one.active and pair != one.pair:
            # Names that the new version does not have are freed first.
            before, certificates = self.claims, self.certificates
            self.claims = dict(before)
            self.certificates = [*certificates]
            self.certificates[which] = replace(one, pair=pair)
            self.free(one.user, [name for name in one.pair.names if name not in pair.names])
            after = self.claimed(pair.names, self.evidence(one.user, pair), self.claims)
            self.claims, self.certificates = before, certificates
        else:
            after = self.claims
        assert (answer.status_code == 200) == (after is not None), answer.text
        if after is not None:
            self.claims = after
            self.certificates[which] = replace(one, pair=pair)

    @rule(which=st.integers(0, 99))
    def delete(self, which: int) -> None:
        if not self.certificates:
            return
        one = self.certificates.pop(which % len(self.certificates))
        path = f"/users/{one.user}/certificates/{one.id}"
        assert self.client.simulate_delete(path).status_code == 204
        self.free(one.user, one.pair.names)

    @rule(user=users, name=names, kind=st.sampled_from(["challenge", "operator"]))
    def prove(self, user: int, name: str, kind: Any) -> None:
        owner = self.users[user]
        after = self.claimed((name,), Claim(owner, kind), self.claims)
        hostnames = self.hostnames
        try:
            with self.world.database.begin(owner) as session:
                outcome = hostnames.claim_proven(session, owner, name, kind, self.now)
        except Conflict:
            assert after is None
            return
        assert (after is None) == (outcome.result == "contested")
        self.claims = self.claims if after is None else after

    @rule(name=names)
    def release(self, name: str) -> None:
        """An operator acts."""
        claim = self.claims.pop(name, None)
        user = claim.user if claim else self.users[0]
        try:
            with self.world.database.begin(user) as session:
                assert self.hostnames.release(session, None, name, "operator") == user
        except NotFound:
            assert claim is None

    @rule(days=st.integers(1, 3))
    def wait(self, days: int) -> None:
        self.now += days * DAY
        self.world.set_now(self.now)

    # The model

    @property
    def hostnames(self) -> Hostnames:
        return hostnames_on(self.world.database, lambda: self.now)

    def evidence(self, user: int, pair: Pair) -> Claim:
        in_force = pair.is_public and self.now <= ends(pair)
        return Claim(user, "public_ca", ends(pair)) if in_force else Claim(user, "none")

    def claimed(
        self, wanted: tuple[str, ...], new: Claim, claims: dict[str, Claim]
    ) -> dict[str, Claim] | None:
        """The claims afterwards; None: the request is refused."""
        after = dict(claims)
        for name in wanted:
            present = claims.get(name)
            mine = present if present and present.user == new.user else None
            best = new
            if mine and self.is_stronger(mine, new):
                best = mine
            strength = best.strength(self.now)
            others = {
                other: claim
                for other, claim in after.items()
                if claim.user != new.user and neighbors(name, other)
            }
            if present and not mine:
                held = present.strength(self.now)
                if strength < 2 or (strength <= held and strength < 4):
                    return None
            if strength == 0 and not mine and others:
                return None
            if strength > 0:
                for other, claim in others.items():
                    if claim.strength(self.now) == 0:
                        after.pop(other, None)
            after[name] = best
        return after

    def is_stronger(self, mine: Claim, new: Claim) -> bool:
        strengths = mine.strength(self.now), new.strength(self.now)
        if strengths[0] != strengths[1]:
            return strengths[0] > strengths[1]
        if mine.until is None or new.until is None:
            return True
        return mine.until >= new.until

    def free(self, user: int, freed: Any) -> None:
        for name in freed:
            claim = self.claims.get(name)
            is_kept = claim and (claim.user != user or claim.kind in ("challenge", "operator"))
            if claim and not is_kept and not self.is_in_use(name, user):
                del self.claims[name]

    def is_in_use(self, name: str, user: int) -> bool:
        return any(
            one.active and one.user == user and name in one.pair.names for one in self.certificates
        )

    def served(self, hostname: str) -> set[tuple[int, str]]:
        """The owner of `hostname`, with each key type that is to be served."""
        for name in (hostname, WILDCARD):
            claim = self.claims.get(name)
            if claim and self.is_in_use(name, claim.user):
                return {
                    (one.user, one.pair.key_type)
                    for one in self.certificates
                    if one.active
                    and one.user == claim.user
                    and self.now <= ends(one.pair)
                    and any(
                        own in one.pair.names
                        and own in self.claims
                        and self.claims[own].user == one.user
                        for own in (hostname, WILDCARD)
                    )
                }
        return set()

    # The service

    @invariant()
    def only_the_owner_is_served(self) -> None:
        self.follow()
        found = [one for candidates in self.known.values() for one in candidates]
        configuration = self.client.simulate_get("/terminators/traefik").json
        for hostname in ASKED:
            expected = self.served(hostname)
            answer = self.client.simulate_get("/resolve", params={"hostname": hostname})
            selected = {(one["user_id"], one["key_type"]) for one in answer.json["selected"]}
            assert selected == expected
            by_agents = decide(hostname, found, self.now).selected
            assert {(one.user_id, kind) for kind, one in by_agents.items()} == expected
            self.ask_as_caddy(hostname, expected)
            self.choose_as_traefik(configuration, hostname, {user for user, _ in expected})

    def ask_as_caddy(self, hostname: str, expected: set[tuple[int, str]]) -> None:
        for schemes in ("403", "804,401"):
            answer = self.client.simulate_get(
                "/terminators/caddy", params={"server_name": hostname, "signature_schemes": schemes}
            )
            assert (answer.status_code == 200) == bool(expected)
            if expected:
                leaf = x509.load_pem_x509_certificates(answer.content)[0]
                owners = {user for user, _ in expected}
                assert any(
                    one.active and one.user in owners and leaf == leaf_of(one.pair)
                    for one in self.certificates
                )

    def choose_as_traefik(
        self, configuration: dict[str, Any], hostname: str, owners: set[int]
    ) -> None:
        """A certificate that lost one of its names may be missing. No other user's is there."""
        for leaf in may_serve(configuration, hostname):
            assert is_placeholder(leaf) or any(
                one.active and one.user in owners and leaf == leaf_of(one.pair)
                for one in self.certificates
            )

    def follow(self) -> None:
        """Reads the feed like an agent."""
        more = True
        while more:
            page = self.reader.page()
            if page["reset"]:
                self.known.clear()
            for entry in page["changes"]:
                self.known[entry["certificate_id"]] = candidates_of(entry)
            more = page["more"]


@cache
def leaf_of(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificates(upload_of(pair)["body"].encode())[0]


def candidates_of(entry: dict[str, Any]) -> list[Candidate]:
    hostnames = entry["hostnames"] if entry["active"] else entry.get("reserved_hostnames", ())
    if not hostnames:
        return []
    not_before, not_after = (
        datetime.fromisoformat(entry[name]) if name in entry else None
        for name in ("not_before", "not_after")
    )
    return [
        Candidate(
            entry["certificate_id"],
            entry["user_id"],
            entry.get("version", 0),
            True,
            hostnames,
            not_before,
            not_after,
            entry.get("trust", "incomplete"),
            entry.get("key_type"),
            entry["active"],
        )
    ]


def test_only_the_owner_of_a_hostname_is_served(
    backend: Backend,
    engine: sa.Engine,
    database: Database,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    moment = [authority.NOW]

    def set_now(now: datetime) -> None:
        moment[0] = now

    roots = tmp_path / "roots.pem"
    roots.write_text(pem(authority.an_authority("Root", "Root")))
    config = backend.config(
        CC_CA_BUNDLE=str(roots), CC_UPLOAD_CHECKS="report", CC_PRIVATE_ROOTS_PROVE_NAMES="true"
    )
    app = create_app(config, now=lambda: moment[0])
    client = TestClient(app, headers={"Host": "localhost:9000"})

    class Machine(Ownership):
        world = World(client, engine, database, set_now)

    examples = 2000 if pytestconfig.getoption("--long") else 5
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=15,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        app.close()
