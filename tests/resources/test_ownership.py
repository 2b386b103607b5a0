"""Attacks on other users' hostnames, and what operators can do about hostnames."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.x509.oid import ExtendedKeyUsageOID
from falcon.testing import Result, TestClient

from customer_certificates.gateways.database import Database
from customer_certificates.models import (
    AuditEntry,
    Certificate,
    Delivery,
    Event,
    HostnameNotice,
    Webhook,
)
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.events.log import Events
from customer_certificates.services.hostnames.notice_delivery import HostnameNoticeDelivery
from customer_certificates.services.quotas.limits import DEFAULTS
from customer_certificates.services.revisions import Revisions

from ..applications import Clock
from ..credentials import bearer, make_token
from ..ownership import cutovers_on
from ..pki.authority import NOW, a_leaf, rsa_key
from ..tables import add_users, dump
from . import an_upload_of, base64_of, codes, der_of, key_der, pem, refusal, self_signed, store
from .test_hostnames import WWW, activate, at_once, claims

pytestmark = pytest.mark.one_backend

WILD = "*.example.com"
DAY = timedelta(days=1)


def public(*hostnames: str, **faults: Any) -> dict[str, Any]:
    """An upload of a certificate of a CA that proves hostnames."""
    return an_upload_of(a_leaf("Root", hostnames[0], hostnames=hostnames, **faults))


def proofs(engine: sa.Engine) -> dict[str, tuple[int, str]]:
    """The owner of each hostname, and the proof, read from the table."""
    return {row[0]: (row[1], row[3]) for row in dump(engine)["hostname_claims"]}


def refused(answer: Result) -> dict[str, list[str]]:
    """The hostnames that a refusal names, by code."""
    assert refusal(answer)[:2] == (409, "conflict"), answer.text
    found: dict[str, list[str]] = {}
    for finding in answer.json["errors"]:
        found.setdefault(finding["code"], []).append(
            finding["detail"].removeprefix("Control of ").partition(" ")[0]
        )
    return found


def upload(client: TestClient, user_id: int, sent: dict[str, Any], **more: Any) -> Result:
    return client.simulate_post(
        f"/users/{user_id}/certificates", json={**sent, "active": True, **more}
    )


def notify(database: Database, clock: Clock) -> int:
    """Does what the worker does with the outbox."""
    audit, events = Audit(database, clock), Events(database, clock)
    return HostnameNoticeDelivery(database, Revisions(database, clock), audit, events).run()


def events_of(engine: sa.Engine, user_id: int) -> list[tuple[str, Any]]:
    """The types and hostnames of a user's events about hostnames."""
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(Event.type, Event.hostnames)
            .where(Event.user_id == user_id, Event.type.like("hostname.%"))
            .order_by(Event.id)
        )
        return [(kind, json.loads(names or "null")) for kind, names in rows]


@pytest.mark.parametrize(("victims", "attackers"), [(WILD, WWW), (WWW, WILD), (WWW, WWW)])
def test_a_self_signed_certificate_takes_no_name_above_beneath_or_beside_a_proven_one(
    reporting: TestClient,
    engine: sa.Engine,
    owner: int,
    stranger: int,
    victims: str,
    attackers: str,
) -> None:
    """Of another key type, too: the name is the victim's for every client."""
    rsa = rsa_key()
    sent = {"body": pem(a_leaf("Root", victims, key=rsa)), "private_key": base64_of(der_of(rsa))}
    assert upload(reporting, owner, sent).status_code == 201
    before = dump(engine)

    assert refused(upload(reporting, stranger, self_signed(attackers))) == {
        "hostname_taken": [attackers]
    }
    assert dump(engine) == before
    assert proofs(engine) == {victims: (owner, "public_ca")}


def test_the_victims_certificate_is_activated_whatever_an_attacker_claimed_before(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    store(reporting, stranger, self_signed(WWW, "left.example.org"), active=True)
    (third,) = add_users(engine, 1)
    store(reporting, third, self_signed("*.shop.example.com"), active=True)

    assert upload(reporting, owner, public(WILD, "a.shop.example.com")).status_code == 201
    # Only the names that overlap are released.
    assert proofs(engine) == {
        WILD: (owner, "public_ca"),
        "a.shop.example.com": (owner, "public_ca"),
        "left.example.org": (stranger, "none"),
    }


def test_proven_names_of_two_users_stand_above_and_beneath_each_other(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    assert upload(reporting, owner, public(WILD)).status_code == 201
    assert upload(reporting, stranger, public(WWW)).status_code == 201

    assert claims(engine) == {WILD: owner, WWW: stranger}


def test_a_certificate_of_a_public_ca_displaces_unproven_claims_only(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int, clock: Clock
) -> None:
    store(reporting, stranger, self_signed(WWW), active=True)
    assert upload(reporting, owner, public(WWW)).status_code == 201
    assert proofs(engine) == {WWW: (owner, "public_ca")}

    answer = upload(reporting, stranger, public(WWW))
    assert refused(answer) == {"hostname_taken": [WWW]}
    assert "challenge" in answer.json["errors"][0]["hint"]
    # A proof that has lapsed is no match for one in force.
    clock.now = NOW + 70 * DAY
    longer = public(WWW, end=timedelta(days=200))
    assert refused(upload(reporting, stranger, longer)) == {"hostname_taken": [WWW]}
    clock.now = NOW + 100 * DAY
    assert refused(upload(reporting, stranger, self_signed(WWW))) == {"hostname_taken": [WWW]}
    assert upload(reporting, stranger, longer).status_code == 201
    assert proofs(engine) == {WWW: (stranger, "public_ca")}


@pytest.mark.parametrize("key", ["none", "another's"])
def test_a_victims_public_certificate_proves_nothing_without_its_key(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int, key: str
) -> None:
    """Certificates are public: anybody can copy one."""
    store(reporting, owner, self_signed(WWW), active=True)
    sent = {**public(WWW), "private_key": "QUJD" if key == "none" else base64_of(key_der("Eve"))}

    assert refused(upload(reporting, stranger, sent)) == {"hostname_taken": [WWW]}
    assert upload(reporting, stranger, {**sent, "body": public("b.example.com")["body"]})
    assert proofs(engine) == {WWW: (owner, "none"), "b.example.com": (stranger, "none")}


@pytest.mark.parametrize(
    "faults",
    [
        {"start": timedelta(days=-90), "end": timedelta(days=-1)},
        {"start": timedelta(days=1)},
        {"purposes": [ExtendedKeyUsageOID.CLIENT_AUTH]},
    ],
)
def test_a_public_certificate_proves_nothing_out_of_force_or_for_another_purpose(
    reporting: TestClient, engine: sa.Engine, owner: int, faults: dict[str, Any]
) -> None:
    assert upload(reporting, owner, public(WWW, **faults)).status_code == 201

    assert proofs(engine) == {WWW: (owner, "none")}


def test_a_user_claims_a_hundred_unproven_names_and_no_more(
    reporting: TestClient, engine: sa.Engine, owner: int
) -> None:
    names = [f"n{number}.example.com" for number in range(1000)]
    answer = upload(reporting, owner, self_signed(*names))
    assert [one["code"] for one in answer.json["errors"]] == ["quota_exceeded"]
    assert "100" in answer.json["errors"][0]["detail"]
    assert claims(engine) == {}

    path = store(
        reporting, owner, self_signed(*names[: DEFAULTS["unproven_hostnames"]]), active=True
    )
    assert codes(upload(reporting, owner, self_signed(names[100])).json["errors"]) == {
        "quota_exceeded"
    }
    # Names with proof do not count, and names that are given up make room.
    assert upload(reporting, owner, public(names[200])).status_code == 201
    replaced = reporting.simulate_put(
        path, json=self_signed(*names[1:101]) | {"allow_lost_hostnames": True}
    )
    assert replaced.status_code == 200, replaced.text


def test_findings_of_one_request_are_capped(
    requiring: TestClient, engine: sa.Engine, owner: int
) -> None:
    names = [f"n{number:03}.example.com" for number in range(150)]
    errors = upload(requiring, owner, self_signed(*names)).json["errors"]

    assert len(errors) == 101
    last = errors[-1]
    assert (last["code"], last["detail"]) == ("more_findings", "50 more findings are not listed.")


def test_where_proof_is_required_all_that_lack_it_is_named_and_nothing_is_stored(
    requiring: TestClient, reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    store(reporting, stranger, self_signed("taken.example.org"), active=True)
    before = dump(engine)
    sent = self_signed(WWW, "b.example.com", "taken.example.org", "x.local", "*.co.uk")

    assert refused(upload(requiring, owner, sent)) == {
        "hostname_unproven": ["b.example.com", WWW],
        "hostname_taken": ["taken.example.org"],
        "hostname_reserved": ["x.local", "*.co.uk"],
    }
    assert dump(engine) == before
    # It can be kept ready, and what it would need is told beforehand.
    checked = requiring.simulate_post(f"/users/{owner}/certificates/check", json=sent).json
    assert checked["hostnames"]["taken"] == ["taken.example.org"]
    assert checked["hostnames"]["unproven"] == [WWW, "b.example.com"]
    assert checked["hostnames"]["reserved"] == ["x.local", "*.co.uk"]
    assert checked["hostnames"]["gained"] == []
    path = store(requiring, owner, self_signed(WWW))
    assert refused(activate(requiring, path)) == {"hostname_unproven": [WWW]}


def test_every_way_to_activate_checks_ownership_again(
    requiring: TestClient,
    reporting: TestClient,
    engine: sa.Engine,
    database: Database,
    clock: Clock,
    owner: int,
) -> None:
    """A certificate activated without proof can be renewed. New hostnames need proof."""
    path = store(reporting, owner, self_signed(WWW), active=True)
    allowed = {"allow_lost_hostnames": True}
    put = requiring.simulate_put(path, json=self_signed(WWW, "b.example.com"))
    assert refused(put) == {"hostname_unproven": ["b.example.com"]}
    later = (clock.now + DAY).isoformat()
    scheduled = self_signed(WWW, "b.example.com") | {"activate_at": later}
    assert refused(requiring.simulate_put(path, json=scheduled)) == {
        "hostname_unproven": ["b.example.com"]
    }
    assert requiring.simulate_put(path, json=self_signed(WWW)).status_code == 200
    assert requiring.simulate_put(path, json=public("c.example.com") | allowed).status_code == 200
    # The old name was given up: to go back, it needs proof.
    back = requiring.simulate_post(f"{path}/rollback", json={"version": 1} | allowed)
    assert refused(back) == {"hostname_unproven": [WWW]}
    # A cutover was allowed when it was scheduled, and is not when its time has come.
    waiting = store(reporting, owner, self_signed("d.example.com"), activate_at=later)
    (stranger,) = add_users(engine, 1)
    assert upload(reporting, stranger, public("d.example.com")).status_code == 201
    clock.now += 2 * DAY
    assert cutovers_on(database, clock).run() == 0
    shown = reporting.simulate_get(waiting).json
    assert shown["active"] is False
    assert "cutover_failed" in codes(shown["findings"])
    assert proofs(engine)["d.example.com"] == (stranger, "public_ca")


def test_a_user_cannot_claim_reserved_names_and_an_operator_grants_them(
    reporting: TestClient, engine: sa.Engine, owner: int
) -> None:
    """Names of the edge and of the service, and CC_RESERVED_HOSTNAMES; proof is no matter."""
    edge, own, beneath = "edge.example.org", "service.example.org", "a.platform.example.org"
    names = [edge, own, beneath, "*.example.org", "intranet"]
    assert refused(upload(reporting, owner, public(*names))) == {"hostname_reserved": sorted(names)}

    assert upload(reporting, owner, public(*names), grant_hostnames=True).status_code == 201
    assert set(proofs(engine).values()) == {(owner, "operator")}
    assert refused(upload(reporting, owner, public("*.co.uk"), grant_hostnames=True)) == {
        "hostname_reserved": ["*.co.uk"]
    }


@pytest.mark.both_backends
@pytest.mark.parametrize("orders", [(WWW, WILD), (WILD, WWW), (WWW, WWW)])
def test_two_users_at_once_never_both_get_overlapping_names(
    reporting: TestClient, engine: sa.Engine, orders: tuple[str, str]
) -> None:
    """Neither row forbids the other: a constraint cannot decide this."""
    for _ in range(4):
        users = add_users(engine, 2)
        requests: list[Callable[[], Result]] = [
            partial(activate, reporting, store(reporting, user_id, self_signed(name)))
            for user_id, name in zip(users, orders, strict=True)
        ]
        statuses = sorted(answer.status_code for answer in at_once(*requests))

        assert statuses == [202, 409]
        assert len(claims(engine)) == 1
        for user_id in users:
            reporting.simulate_delete(f"/users/{user_id}")


@pytest.mark.both_backends
def test_users_who_take_names_from_each_other_at_once_do_not_deadlock(
    reporting: TestClient, engine: sa.Engine
) -> None:
    for number in range(3):
        names = [f"{letter}{number}.example.com" for letter in "abcdef"]
        one, other = add_users(engine, 2)
        store(reporting, one, self_signed(*names[:3]), active=True)
        store(reporting, other, self_signed(*names[3:]), active=True)
        answers = at_once(
            partial(upload, reporting, one, public(*reversed(names[3:]))),
            partial(upload, reporting, other, public(*names[:3])),
        )

        assert [answer.status_code for answer in answers] == [201, 201]
        assert claims(engine) == dict.fromkeys(names[3:], one) | dict.fromkeys(names[:3], other)
        for user_id in (one, other):
            reporting.simulate_delete(f"/users/{user_id}")


def test_a_released_name_is_told_to_both_parties_and_leaves_the_certificate_active(
    reporting: TestClient,
    engine: sa.Engine,
    database: Database,
    clock: Clock,
    owner: int,
    stranger: int,
) -> None:
    path = store(reporting, stranger, self_signed(WWW, "kept.example.com"), active=True)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(Webhook).values(
                user_id=stranger,
                url="https://hooks.example.com/",
                events='["hostname.released"]',
                description="",
                state="active",
                configured=False,
                created_at=clock.now,
            )
        )
    tag = reporting.simulate_get(path).headers["ETag"]
    assert upload(reporting, owner, public(WWW)).status_code == 201
    # Another worker at the same time, or this one again, notifies of nothing twice.
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: notify(database, clock), range(2)))
    assert notify(database, clock) == 0

    assert events_of(engine, stranger) == [("hostname.released", [WWW])]
    assert events_of(engine, owner) == [("hostname.transferred", [WWW])]
    shown = reporting.simulate_get(path)
    assert shown.json["active"] is True
    assert shown.headers["ETag"] != tag
    (finding,) = (one for one in shown.json["findings"] if one["code"] == "hostname_released")
    assert finding["detail"].startswith(WWW)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Delivery)) == 1
        audited = connection.execute(
            sa.select(AuditEntry.chain, AuditEntry.action).where(
                AuditEntry.action.like("hostname.%")
            )
        ).all()
    assert {tuple(one) for one in audited} == {
        (stranger, "hostname.released"),
        (owner, "hostname.transferred"),
    }
    shown_events = reporting.simulate_get(f"/users/{stranger}/events").json
    released = [one for one in shown_events if one["type"] == "hostname.released"]
    assert [one["data"]["hostnames"] for one in released] == [[WWW]]
    # The event that only agents need is not shown.
    assert not any("hostnames_changed" in one["type"] for one in shown_events)
    assert proofs(engine)["kept.example.com"] == (stranger, "none")


def test_a_notice_that_fails_keeps_no_other_waiting(
    reporting: TestClient,
    engine: sa.Engine,
    database: Database,
    clock: Clock,
    owner: int,
    stranger: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many fail: here, all that are read at once."""
    delivery = "customer_certificates.services.hostnames.notice_delivery"
    monkeypatch.setattr(f"{delivery}._MOST_IN_A_RUN", 1)
    for hostname in ("a.example.com", "b.example.com"):
        store(reporting, stranger, self_signed(hostname), active=True)
        assert upload(reporting, owner, public(hostname)).status_code == 201
    this = (Certificate.user_id == stranger) & Certificate.hostnames.contains("a.example.com")
    with engine.begin() as connection:
        connection.execute(sa.update(Certificate).where(this).values(findings="broken"))

    assert notify(database, clock) == 3
    assert events_of(engine, stranger) == [("hostname.released", ["b.example.com"])]
    with engine.begin() as connection:
        connection.execute(sa.update(Certificate).where(this).values(findings="[]"))
    assert notify(database, clock) == 1


def test_the_feed_sends_again_the_certificates_that_lose_or_share_a_name(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    (third,) = add_users(engine, 1)
    wild = store(reporting, third, public(WILD), active=True)
    rejection = store(reporting, stranger, self_signed("shop.example.org"), active=True)
    assert upload(reporting, owner, public(WWW, "shop.example.org")).status_code == 201

    with engine.connect() as connection:
        sent = connection.execute(
            sa.select(Event.user_id, Event.certificate_id, Event.notify).where(
                Event.type == "certificate.hostnames_changed"
            )
        ).all()
    ids = {int(path.rpartition("/")[2]) for path in (wild, rejection)}
    assert {(user_id, notified) for user_id, _, notified in sent} == {
        (third, False),
        (stranger, False),
    }
    assert {certificate_id for _, certificate_id, _ in sent} == ids


def test_a_name_is_activated_again_without_the_finding_about_its_loss(
    reporting: TestClient,
    engine: sa.Engine,
    database: Database,
    clock: Clock,
    owner: int,
    stranger: int,
) -> None:
    path = store(reporting, stranger, self_signed(WWW), active=True)
    other = store(reporting, owner, public(WWW), active=True)
    notify(database, clock)
    activate(reporting, path, False)
    activate(reporting, other, False)
    assert "hostname_released" in codes(reporting.simulate_get(path).json["findings"])

    assert activate(reporting, path).status_code == 202
    assert "hostname_released" not in codes(reporting.simulate_get(path).json["findings"])


@pytest.mark.parametrize("name", ["*.example.com", "2001:db8::1", "WWW.Example.COM."])
def test_an_operator_grants_finds_and_releases_a_hostname(
    closed: TestClient, engine: sa.Engine, owner: int, stranger: int, name: str
) -> None:
    operator = bearer(make_token(engine, "operator"))
    path = f"/hostnames/{name}"
    granted = closed.simulate_put(path, json={"user_id": owner}, headers=operator)
    assert granted.status_code == 200, granted.text
    view = granted.json
    assert (view["user_id"], view["proof"], view["in_use"]) == (owner, "operator", False)
    found = closed.simulate_get("/hostnames", params={"hostname": name}, headers=operator).json
    assert found == [view]
    assert closed.simulate_get("/hostnames", headers=operator).json == [view]

    moved = closed.simulate_put(path, json={"user_id": stranger}, headers=operator)
    assert moved.json["user_id"] == stranger
    assert closed.simulate_delete(path, headers=operator).status_code == 204
    assert closed.simulate_delete(path, headers=operator).status_code == 404
    assert claims(engine) == {}
    with engine.connect() as connection:
        notices = connection.execute(
            sa.select(HostnameNotice.user_id, HostnameNotice.kind).order_by(HostnameNotice.id)
        ).all()
    assert [tuple(one) for one in notices] == [
        (owner, "transferred"),
        (owner, "released"),
        (stranger, "transferred"),
        (stranger, "released"),
    ]


def test_only_operators_grant_and_see_the_names_of_all(
    closed: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    mine = bearer(make_token(engine, "user", owner))
    operator = bearer(make_token(engine, "operator"))
    for answer in (
        closed.simulate_get("/hostnames", headers=mine),
        closed.simulate_put(f"/hostnames/{WWW}", json={"user_id": owner}, headers=mine),
        closed.simulate_delete(f"/hostnames/{WWW}", headers=mine),
    ):
        assert answer.status_code == 403
    assert closed.simulate_get(f"/users/{stranger}/hostnames", headers=mine).status_code == 404
    sent = {**self_signed(WWW), "grant_hostnames": True}
    certificates = f"/users/{owner}/certificates"
    path = f"{certificates}/1"
    for answer in (
        closed.simulate_post(certificates, json=sent, headers=mine),
        closed.simulate_post(f"{certificates}/check", json=sent, headers=mine),
        closed.simulate_put(path, json=sent, headers=mine),
        closed.simulate_patch(
            f"{path}/active", json={"active": True, "grant_hostnames": True}, headers=mine
        ),
    ):
        assert answer.status_code == 403, answer.text
    assert closed.simulate_post(certificates, json=sent, headers=operator).status_code == 201
    assert proofs(engine) == {WWW: (owner, "operator")}


def test_a_user_sees_its_names_in_pages_and_gives_up_what_is_not_in_use(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    store(reporting, owner, public("c.example.com", "a.example.com"), active=True)
    store(reporting, stranger, self_signed("d.example.net"), active=True)
    reporting.simulate_put("/hostnames/b.example.com", json={"user_id": owner})
    path = f"/users/{owner}/hostnames"

    first = reporting.simulate_get(path, params={"limit": 2})
    assert [one["hostname"] for one in first.json] == ["a.example.com", "b.example.com"]
    assert first.json[0]["proof"] == "public_ca"
    assert first.json[0]["in_use"] is True
    assert first.json[0]["proof_until"] == (NOW + 80 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    following = first.headers["Link"].partition(">")[0].removeprefix("<")
    last = reporting.simulate_get(
        following.partition("?")[0], query_string=following.partition("?")[2]
    )
    assert [one["hostname"] for one in last.json] == ["c.example.com"]
    assert "Link" not in last.headers

    in_use = reporting.simulate_delete(f"{path}/a.example.com")
    assert refusal(in_use) == (409, "conflict", {"hostname": "hostname_in_use"})
    assert reporting.simulate_delete(f"{path}/b.example.com").status_code == 204
    assert reporting.simulate_delete(f"{path}/d.example.net").status_code == 404
    assert reporting.simulate_delete(f"{path}/not..a-name").status_code == 404
    assert reporting.simulate_get(path, params={"after": "not..a-name"}).status_code == 422
    assert sorted(claims(engine)) == ["a.example.com", "c.example.com", "d.example.net"]


@pytest.mark.parametrize("hostname", [WWW, "nobodys.example.com"])
def test_a_user_who_gives_up_a_name_does_not_learn_of_others(
    reporting: TestClient, owner: int, stranger: int, hostname: str
) -> None:
    assert upload(reporting, owner, public(WWW)).status_code == 201

    answer = reporting.simulate_delete(f"/users/{stranger}/hostnames/{hostname}")

    assert refusal(answer)[:2] == (404, "not-found")
    assert answer.json["detail"] == f"User {stranger} does not own {hostname}."


def test_a_granted_name_stays_the_users_when_no_certificate_is_active(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    path = store(reporting, owner, self_signed(WWW), active=True, grant_hostnames=True)
    activate(reporting, path, False)

    assert proofs(engine) == {WWW: (owner, "operator")}
    assert refused(upload(reporting, stranger, public(WWW))) == {"hostname_taken": [WWW]}
