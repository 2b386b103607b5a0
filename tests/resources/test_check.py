"""The dry run of an upload."""

from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from ..pki.authority import a_leaf, an_authority
from ..tables import dump
from . import an_upload_of, base64_of, codes, key_der, pem, refusal, self_signed, store

pytestmark = pytest.mark.one_backend

WWW, SHOP, NEW = "www.example.com", "shop.example.com", "new.example.com"
NO_CHANGE: dict[str, list[Any]] = {
    "gained": [],
    "lost": [],
    "moved": [],
    "taken": [],
    "unproven": [],
    "reserved": [],
    "taken_over": [],
}


def check(client: TestClient, user_id: int, upload: dict[str, Any], replaces: str = "") -> Any:
    """The response; `replaces` is the path of a certificate."""
    params = {"replaces": replaces.rpartition("/")[2]} if replaces else {}
    answer = client.simulate_post(
        f"/users/{user_id}/certificates/check", json=upload, params=params
    )
    assert answer.status_code == 200, answer.text
    return answer.json


def id_of(certificate: str) -> int:
    return int(certificate.rpartition("/")[2])


def test_it_is_told_what_an_upload_would_store_and_find(enforcing: TestClient, owner: int) -> None:
    issuing = an_authority("Issuing", "Root")
    leaf = a_leaf("Issuing", hostnames=[WWW, SHOP])
    upload = an_upload_of(leaf, issuing)
    checked = check(enforcing, owner, upload)

    shown = enforcing.simulate_get(store(enforcing, owner, upload)).json
    assert checked == {
        "accepted": True,
        "servable": True,
        "not_servable_reason": None,
        "trust": "public",
        "certificate": {name: shown[name] for name in checked["certificate"]},
        "chain_pem": pem(leaf, issuing),
        "findings": shown["findings"],
        "hostnames": {**NO_CHANGE, "gained": [WWW, SHOP]},
    }
    assert checked["certificate"].keys() >= {"subject", "hostnames", "not_after", "spki_sha256"}


def test_what_cannot_be_read_is_no_certificate(reporting: TestClient, owner: int) -> None:
    checked = check(reporting, owner, {"body": "PEM", "private_key": "QUJD"})

    assert (checked["accepted"], checked["trust"]) == (True, "unreadable")
    assert checked["certificate"] is checked["chain_pem"] is None
    assert checked["hostnames"] == NO_CHANGE
    assert codes(checked["findings"]) >= {"pem_invalid", "key_invalid"}


@pytest.mark.both_backends
def test_nothing_is_stored(apps: Any, engine: sa.Engine, owner: int) -> None:
    """No intermediate either, nor a claim."""
    issuing = an_authority("Issuing", "Root")
    certificate = store(apps.reporting, owner, self_signed(WWW), active=True)
    before = dump(engine)

    for client in (apps.reporting, apps.enforcing):
        for upload in (
            an_upload_of(a_leaf("Issuing", NEW), issuing),
            self_signed(NEW, WWW) | {"active": True},
            {"body": "PEM", "private_key": "QUJD"},
        ):
            check(client, owner, upload)
            check(client, owner, upload, certificate)
    assert dump(engine) == before


def test_an_error_is_found_in_either_mode_and_accepted_in_one(apps: Any, owner: int) -> None:
    upload = {**self_signed(WWW), "private_key": base64_of(key_der("another"))}
    reported = check(apps.reporting, owner, upload)
    enforced = check(apps.enforcing, owner, upload)

    assert (reported["accepted"], enforced["accepted"]) == (True, False)
    assert reported["findings"] == enforced["findings"]
    assert "key_mismatch" in codes(enforced["findings"])


def test_hostnames_are_gained_moved_and_taken(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    store(reporting, stranger, self_signed("theirs.example.com", WWW), active=True)
    first = store(reporting, owner, self_signed(SHOP, "old.example.com"), active=True)
    second = store(reporting, owner, self_signed(SHOP), active=True)
    store(reporting, owner, self_signed(NEW))
    store(reporting, stranger, self_signed(NEW))

    assert check(reporting, owner, self_signed(WWW, NEW, SHOP, "theirs.example.com"))[
        "hostnames"
    ] == {
        **NO_CHANGE,
        "gained": [NEW],
        "moved": [{"hostname": SHOP, "certificate_ids": [id_of(first), id_of(second)]}],
        "taken": ["theirs.example.com", WWW],
    }


def test_what_is_replaced_loses_what_is_not_covered(reporting: TestClient, owner: int) -> None:
    replaced = store(reporting, owner, self_signed(WWW, SHOP, "a.b.example.com"), active=True)
    other = store(reporting, owner, self_signed(SHOP), active=True)
    checked = check(reporting, owner, self_signed("*.example.com", SHOP, NEW), replaced)

    assert checked["hostnames"] == {
        **NO_CHANGE,
        "gained": ["*.example.com", NEW],
        "lost": ["a.b.example.com"],
        "moved": [{"hostname": SHOP, "certificate_ids": [id_of(other)]}],
    }
    # As the replacement itself then says.
    answer = reporting.simulate_put(replaced, json=self_signed("*.example.com", SHOP, NEW))
    assert refusal(answer)[:2] == (409, "conflict")
    lost = [one for one in answer.json["errors"] if one["code"] == "hostnames_lost"]
    assert [one["detail"].split()[0] for one in lost] == ["a.b.example.com"]


def test_what_is_replaced_gives_no_name_while_it_is_inactive(
    reporting: TestClient, owner: int
) -> None:
    replaced = store(reporting, owner, self_signed(WWW))

    told = check(reporting, owner, self_signed(WWW), replaced)["hostnames"]

    assert told == {**NO_CHANGE, "gained": [WWW]}


def test_the_payload_is_that_of_an_upload_or_a_replacement(
    reporting: TestClient, owner: int
) -> None:
    path = f"/users/{owner}/certificates/check"
    for more in ({"active": True}, {"allow_lost_hostnames": True}):
        answer = reporting.simulate_post(path, json={**self_signed(WWW), **more})

        assert answer.status_code == 200


def test_a_renewal_changes_nothing(reporting: TestClient, owner: int) -> None:
    replaced = store(reporting, owner, self_signed(WWW, SHOP), active=True)

    assert check(reporting, owner, self_signed(SHOP, WWW), replaced)["hostnames"] == NO_CHANGE


def test_a_duplicate_is_told(reporting: TestClient, owner: int, stranger: int) -> None:
    upload = self_signed(WWW)
    first = store(reporting, owner, upload)

    (duplicate,) = (
        one for one in check(reporting, owner, upload)["findings"] if one["code"] == "duplicate"
    )
    assert f"certificate {id_of(first)}." in duplicate["detail"]
    assert "duplicate" not in codes(check(reporting, stranger, upload)["findings"])


def test_what_is_replaced_with_itself_is_no_duplicate(reporting: TestClient, owner: int) -> None:
    upload = self_signed(WWW)
    first = store(reporting, owner, upload)
    assert "duplicate" not in codes(check(reporting, owner, upload, first)["findings"])

    second = store(reporting, owner, upload)
    (duplicate,) = (
        one
        for one in check(reporting, owner, upload, first)["findings"]
        if one["code"] == "duplicate"
    )
    assert f"certificate {id_of(second)}." in duplicate["detail"]


def test_only_the_users_own_is_replaced(reporting: TestClient, owner: int, stranger: int) -> None:
    strangers = id_of(store(reporting, stranger, self_signed(WWW)))
    path = f"/users/{owner}/certificates/check"

    for replaces in (strangers, strangers + 1000):
        answer = reporting.simulate_post(path, json=self_signed(WWW), params={"replaces": replaces})
        assert refusal(answer) == (404, "not-found", {})
    nobody = reporting.simulate_post(
        f"/users/{stranger + 1000}/certificates/check", json=self_signed(WWW)
    )
    assert refusal(nobody) == (404, "not-found", {})


@pytest.mark.parametrize("value", ["", "0", "-1", "x", "1.0", str(2**63)])
def test_what_is_replaced_is_named_by_its_id(reporting: TestClient, owner: int, value: str) -> None:
    answer = reporting.simulate_post(
        f"/users/{owner}/certificates/check", json=self_signed(WWW), params={"replaces": value}
    )

    assert refusal(answer) == (422, "invalid", {"replaces": "invalid_parameter"})
