"""One owner a hostname. Without proofs it is the first user who activates a certificate for it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from falcon.testing import Result, TestClient

from ..pki import authority
from ..tables import add_users, dump
from . import an_upload_of, base64_of, codes, pem, refusal, self_signed, store

pytestmark = pytest.mark.one_backend

WWW, SHOP = "www.example.com", "shop.example.com"


def activate(client: TestClient, certificate: str, active: bool = True) -> Result:
    return client.simulate_patch(f"{certificate}/active", json={"active": active})


def claims(engine: sa.Engine) -> dict[str, int]:
    """Whose each hostname is, read from the table."""
    return {row[0]: row[1] for row in dump(engine)["hostname_claims"]}


def names_taken(answer: Result) -> list[str]:
    """The hostnames that a refusal names, one a finding."""
    assert refusal(answer)[:2] == (409, "conflict")
    assert codes(answer.json["errors"]) == {"hostname_taken"}
    return [finding["detail"].partition(" ")[0] for finding in answer.json["errors"]]


def at_once(*requests: Callable[[], Result]) -> list[Result]:
    """Their answers; all of them begin together."""
    barrier = Barrier(len(requests))

    def send(request: Callable[[], Result]) -> Result:
        barrier.wait()
        return request()

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(send, requests))


def test_a_hostname_is_nobodys_until_a_certificate_for_it_is_active(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    owners = store(reporting, owner, self_signed(WWW, SHOP))
    strangers = store(reporting, stranger, self_signed(WWW))
    assert claims(engine) == {}

    assert activate(reporting, strangers).status_code == 202
    assert claims(engine) == {WWW: stranger}
    assert names_taken(activate(reporting, owners)) == [WWW]
    assert reporting.simulate_get(owners).json["active"] is False
    assert claims(engine) == {WWW: stranger}


def test_all_that_is_taken_is_named_and_nobody_whose_it_is(
    reporting: TestClient, engine: sa.Engine, owner: int
) -> None:
    (stranger,) = add_users(engine, 1, email="taker@example.org")
    store(reporting, stranger, self_signed(SHOP, WWW), active=True)
    path = f"/users/{owner}/certificates"
    before = dump(engine)
    answer = reporting.simulate_post(
        path, json=self_signed("free.example.com", WWW, SHOP, "b.example.com") | {"active": True}
    )

    assert names_taken(answer) == [SHOP, WWW]
    told = " ".join(finding["detail"] + finding["hint"] for finding in answer.json["errors"])
    told = told.replace(f"/users/{owner}/", "")
    assert "taker" not in told
    assert not any(character.isdigit() for character in told + answer.json["detail"])
    assert dump(engine) == before


def test_a_taken_name_is_no_reason_not_to_keep_a_certificate_ready(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    first = store(reporting, stranger, self_signed(WWW), active=True)
    second = store(reporting, owner, self_signed(WWW))

    assert activate(reporting, first, False).status_code == 202
    assert activate(reporting, second).status_code == 202
    assert names_taken(activate(reporting, first)) == [WWW]


def test_certificates_of_one_user_share_a_name_and_the_last_one_frees_it(
    reporting: TestClient, engine: sa.Engine, owner: int
) -> None:
    """RSA beside ECDSA, the old beside the renewed."""
    rsa = authority.rsa_key()
    key = rsa.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    beside = {"body": pem(authority.a_leaf(WWW, key=rsa)), "private_key": base64_of(key)}
    first, second, third = (
        store(reporting, owner, upload, active=True)
        for upload in (self_signed(WWW, SHOP), beside, self_signed(WWW))
    )

    assert claims(engine) == {WWW: owner, SHOP: owner}
    activate(reporting, first, False)
    assert claims(engine) == {WWW: owner}
    reporting.simulate_delete(second)
    assert claims(engine) == {WWW: owner}
    activate(reporting, third, False)
    assert claims(engine) == {}
    # Inactive ones hold nothing, whatever becomes of them.
    activate(reporting, first)
    reporting.simulate_delete(third)
    assert claims(engine) == {WWW: owner, SHOP: owner}


def test_activating_what_is_active_claims_nothing_anew(
    reporting: TestClient, engine: sa.Engine, owner: int
) -> None:
    certificate = store(reporting, owner, self_signed(WWW), active=True)
    before = dump(engine)

    assert activate(reporting, certificate).status_code == 202
    assert dump(engine) == before


@pytest.mark.parametrize("end", ["deactivated", "deleted", "user deleted"])
def test_a_name_is_free_again_when_its_certificate_is(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int, end: str
) -> None:
    first = store(reporting, stranger, self_signed(WWW), active=True)
    second = store(reporting, owner, self_signed(WWW))
    assert names_taken(activate(reporting, second)) == [WWW]

    if end == "deactivated":
        activate(reporting, first, False)
    else:
        reporting.simulate_delete(first if end == "deleted" else f"/users/{stranger}")
    assert activate(reporting, second).status_code == 202
    assert claims(engine) == {WWW: owner}


@pytest.mark.parametrize(("first", "second"), [("*.example.com", WWW), (WWW, "*.example.com")])
def test_an_unproven_name_is_not_claimed_beneath_or_above_anothers(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int, first: str, second: str
) -> None:
    store(reporting, owner, self_signed(first), active=True)
    beside = store(reporting, stranger, self_signed(second))

    assert names_taken(activate(reporting, beside)) == [second]
    assert claims(engine) == {first: owner}
    # One user can have both.
    store(reporting, owner, self_signed(second), active=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WWW, "WWW.EXAMPLE.com"),
        (WWW, "www.example.com."),
        ("xn--mnchen-3ya.example", "XN--MNCHEN-3YA.example"),
    ],
)
def test_a_name_is_the_same_however_it_is_written(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int, one: str, other: str
) -> None:
    store(reporting, owner, self_signed(one), active=True)
    second = store(
        reporting, stranger, an_upload_of(authority.issue("Second", "Second", hostnames=[other]))
    )

    assert names_taken(activate(reporting, second)) == [one]
    assert claims(engine) == {one: owner}


def test_an_address_has_one_owner_too(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    names = [x509.IPAddress(ip_address("2001:DB8:0::1")), x509.IPAddress(ip_address("192.0.2.7"))]
    upload = an_upload_of(authority.issue("Machine", "Machine", hostnames=names))
    store(reporting, owner, upload, active=True)

    assert claims(engine) == {"2001:db8::1": owner, "192.0.2.7": owner}
    assert names_taken(activate(reporting, store(reporting, stranger, upload))) == [
        "192.0.2.7",
        "2001:db8::1",
    ]


def test_what_has_no_name_can_be_active_for_everybody(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    for user_id in (owner, stranger):
        store(reporting, user_id, {"body": "PEM", "private_key": "QUJD"}, active=True)

    assert claims(engine) == {}


def test_claims_move_with_what_an_active_certificate_is_replaced_with(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    certificate = store(reporting, owner, self_signed(WWW, SHOP), active=True)
    allowed = {"allow_lost_hostnames": True}
    replaced = reporting.simulate_put(
        certificate, json=self_signed(SHOP, "new.example.com") | allowed
    )

    assert replaced.status_code == 200
    assert claims(engine) == {SHOP: owner, "new.example.com": owner}
    store(reporting, stranger, self_signed(WWW), active=True)
    before = dump(engine)
    taken = reporting.simulate_put(certificate, json=self_signed(SHOP, WWW) | allowed)
    assert names_taken(taken) == [WWW]
    assert dump(engine) == before
    rolled = reporting.simulate_post(f"{certificate}/rollback", json={"version": 1} | allowed)
    assert names_taken(rolled) == [WWW]
    assert dump(engine) == before


def test_a_certificate_that_is_not_active_is_replaced_without_a_claim(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    store(reporting, stranger, self_signed(WWW), active=True)
    certificate = store(reporting, owner, self_signed(SHOP))

    replaced = reporting.simulate_put(certificate, json=self_signed(SHOP, WWW))
    assert replaced.status_code == 200
    assert claims(engine) == {WWW: stranger}
    assert names_taken(activate(reporting, certificate)) == [WWW]


ORDERS = [[[WWW], [WWW]], [[WWW, SHOP], [SHOP, WWW]], [[SHOP, WWW, "a.example"], [WWW, SHOP]]]


@pytest.mark.both_backends
@pytest.mark.parametrize("way", ["activate", "upload", "replace"])
@pytest.mark.parametrize("orders", ORDERS)
def test_of_two_users_at_once_exactly_one_gets_the_names(
    reporting: TestClient, engine: sa.Engine, way: str, orders: Sequence[Sequence[str]]
) -> None:
    """And the other is told so: no deadlock, no error of the database's."""
    for _ in range(3):
        users = add_users(engine, 2)
        requests: list[Callable[[], Result]] = []
        for user_id, names in zip(users, orders, strict=True):
            requests.append(_claiming(reporting, way, user_id, names))
        answers = at_once(*requests)

        assert sorted(answer.status_code < 300 for answer in answers) == [False, True]
        (chosen,) = (
            user for user, answer in zip(users, answers, strict=True) if answer.status_code < 300
        )
        (refused,) = (answer for answer in answers if answer.status_code >= 300)
        contested = set(orders[0]) & set(orders[1])
        assert set(names_taken(refused)) == contested
        held = claims(engine)
        assert {held[name] for name in contested} == {chosen}
        for user_id in users:
            reporting.simulate_delete(f"/users/{user_id}")


def _claiming(
    client: TestClient, way: str, user_id: int, names: Sequence[str]
) -> Callable[[], Result]:
    upload = self_signed(*names)
    if way == "upload":
        path = f"/users/{user_id}/certificates"
        return lambda: client.simulate_post(path, json={**upload, "active": True})
    if way == "activate":
        certificate = store(client, user_id, upload)
        return lambda: activate(client, certificate)
    certificate = store(client, user_id, self_signed(f"{user_id}.example"), active=True)
    return lambda: client.simulate_put(certificate, json=upload | {"allow_lost_hostnames": True})


@pytest.mark.both_backends
def test_names_change_hands_while_others_are_claimed_without_an_error(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    """Each goes back and forth between its own name and both, in the other's order."""
    uploads = {
        owner: [self_signed(WWW, SHOP), self_signed(SHOP)],
        stranger: [self_signed(SHOP, WWW), self_signed(WWW)],
    }
    certificates = {
        user_id: store(reporting, user_id, self_signed(f"{user_id}.example"), active=True)
        for user_id in uploads
    }

    def write(user_id: int) -> set[int]:
        path = certificates[user_id]
        allowed: dict[str, Any] = {"allow_lost_hostnames": True}
        return {
            reporting.simulate_put(path, json=uploads[user_id][number % 2] | allowed).status_code
            for number in range(12)
        }

    with ThreadPoolExecutor(2) as threads:
        statuses = set().union(*threads.map(write, uploads))

    assert statuses <= {200, 409}
    held = claims(engine)
    for user_id, path in certificates.items():
        names = reporting.simulate_get(path).json["hostnames"]
        assert {name for name, whose in held.items() if whose == user_id} == set(names)


@pytest.mark.both_backends
def test_a_users_own_writes_at_once_leave_the_claims_right(
    reporting: TestClient, engine: sa.Engine, owner: int
) -> None:
    """Activation, deactivation, replacement and deletion of certificates for the same name."""
    paths = [store(reporting, owner, self_signed(WWW), active=True) for _ in range(3)]
    answers = at_once(
        lambda: activate(reporting, paths[0], False),
        lambda: reporting.simulate_delete(paths[1]),
        lambda: reporting.simulate_put(paths[2], json=self_signed(WWW, SHOP)),
    )

    assert [answer.status_code for answer in answers] == [202, 204, 200]
    assert claims(engine) == {WWW: owner, SHOP: owner}


@pytest.mark.both_backends
def test_a_user_is_deleted_while_another_waits_for_its_names(
    reporting: TestClient, engine: sa.Engine, stranger: int
) -> None:
    for _ in range(3):
        (owner,) = add_users(engine, 1)
        store(reporting, owner, self_signed(WWW, SHOP), active=True)
        certificate = store(reporting, stranger, self_signed(SHOP, WWW))
        deleted, activated = at_once(
            partial(reporting.simulate_delete, f"/users/{owner}"),
            partial(activate, reporting, certificate),
        )

        assert deleted.status_code == 204
        assert activated.status_code in (202, 409)
        assert activate(reporting, certificate).status_code == 202
        assert set(claims(engine).values()) == {stranger}
        reporting.simulate_delete(certificate)
