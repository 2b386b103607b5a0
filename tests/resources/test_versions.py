"""A certificate is replaced in its place, and brought back to what it was."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from ..applications import Clock
from ..conftest import StoredKeys
from ..corpus.case import CASES
from ..corpus.case import read as read_case
from ..factories import listed
from ..pki import authority
from ..tables import dump
from . import an_upload_of, base64_of, codes, key_der, pem, refusal, self_signed, store

pytestmark = pytest.mark.one_backend

WWW, SHOP = "www.example.com", "shop.example.com"
DAY = timedelta(days=1)
ALLOWED = {"allow_lost_hostnames": True}


@pytest.fixture
def certificate(reporting: TestClient, owner: int) -> str:
    """The path of the owner's active certificate for two names."""
    return store(reporting, owner, self_signed(WWW, SHOP), active=True)


def replace(client: TestClient, certificate: str, *hostnames: str, **changes: Any) -> Result:
    return client.simulate_put(certificate, json={**self_signed(*hostnames), **changes})


def roll_back(client: TestClient, certificate: str, version: int, **changes: Any) -> Result:
    return client.simulate_post(f"{certificate}/rollback", json={"version": version, **changes})


def versions(client: TestClient, certificate: str) -> list[dict[str, Any]]:
    answer = client.simulate_get(f"{certificate}/versions")
    assert answer.status_code == 200
    kept: list[dict[str, Any]] = answer.json
    return kept


def lost(answer: Result) -> list[str]:
    """The hostnames that a refusal says would be lost, one a finding; all that was found in the
    certificate comes with them."""
    assert refusal(answer)[:2] == (409, "conflict")
    assert codes(answer.json["errors"]) == {"hostnames_lost", "untrusted"}
    return [
        finding["detail"].partition(" ")[0]
        for finding in answer.json["errors"]
        if finding["code"] == "hostnames_lost"
    ]


def test_a_certificate_is_replaced_in_its_place(
    reporting: TestClient, clock: Clock, stored_keys: StoredKeys, owner: int, certificate: str
) -> None:
    before = reporting.simulate_get(certificate)
    clock.now += DAY
    leaf = authority.a_leaf("Renewed", "renewed", hostnames=[WWW, SHOP])
    answer = reporting.simulate_put(certificate, json=an_upload_of(leaf))

    assert answer.status_code == 200
    after = reporting.simulate_get(certificate)
    assert listed(after.json) == answer.json
    assert after.headers["ETag"] == answer.headers["ETag"] != before.headers["ETag"]
    same = ("id", "user_id", "active", "status", "hostnames", "created_at")
    assert [after.json[name] for name in same] == [before.json[name] for name in same]
    assert (before.json["version"], after.json["version"]) == (1, 2)
    assert (after.json["body"], after.json["subject"]) == (pem(leaf), "CN=renewed")
    assert after.json["updated_at"] == "2026-06-02T12:00:00Z"
    assert reporting.simulate_get(f"/users/{owner}/certificates").json == [answer.json]
    assert list(stored_keys().values()) == [key_der(WWW), key_der("renewed")]


def test_a_list_shows_what_a_certificate_was_replaced_with(
    reporting: TestClient, owner: int, certificate: str
) -> None:
    path = f"/users/{owner}/certificates"
    tag = reporting.simulate_get(path).headers["ETag"]
    undo = partial(roll_back, reporting, certificate, 1)
    for write in (partial(replace, reporting, certificate, WWW, SHOP), undo):
        shown = write().json
        again = reporting.simulate_get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.json) == (200, [shown])
        tag = again.headers["ETag"]


@pytest.mark.parametrize("way", ["replaced", "rolled back"])
def test_a_list_is_told_when_what_a_certificate_is_now_ends(
    reporting: TestClient, clock: Clock, owner: int, way: str
) -> None:
    soon, late = self_signed(WWW, end=5 * DAY), self_signed(WWW, end=50 * DAY)
    certificate = store(reporting, owner, late if way == "replaced" else soon, active=True)
    reporting.simulate_put(certificate, json=soon if way == "replaced" else late)
    if way == "rolled back":
        roll_back(reporting, certificate, 1)
    path = f"/users/{owner}/certificates"
    before = reporting.simulate_get(path)
    clock.now += 6 * DAY
    after = reporting.simulate_get(path, headers={"If-None-Match": before.headers["ETag"]})

    assert [one["status"] for one in before.json] == ["active"]
    assert [one["status"] for one in after.json] == ["expired"]


def test_a_replacement_that_is_repeated_changes_nothing(
    reporting: TestClient, clock: Clock, engine: sa.Engine, certificate: str
) -> None:
    """A retried request must not look like a failure, nor use up a version."""
    upload = self_signed(WWW, SHOP)
    first = reporting.simulate_put(certificate, json=upload)
    before = dump(engine)
    clock.now += DAY
    again = reporting.simulate_put(certificate, json=upload)

    assert (again.status_code, again.json) == (200, first.json)
    assert again.headers["ETag"] == first.headers["ETag"]
    assert dump(engine) == before


def test_the_same_certificate_with_the_right_key_is_another_version(
    reporting: TestClient, stored_keys: StoredKeys, owner: int
) -> None:
    upload = self_signed(WWW)
    wrong = {**upload, "private_key": base64_of(key_der("another"))}
    certificate = store(reporting, owner, wrong)
    mended = reporting.simulate_put(certificate, json=upload)

    assert (mended.status_code, mended.json["version"]) == (200, 2)
    assert "key_mismatch" not in codes(mended.json["findings"])
    assert list(stored_keys().values()) == [key_der("another"), key_der(WWW)]


@pytest.mark.parametrize("body", [None, "no certificate at all"], ids=["certificate", "text"])
def test_another_key_is_another_version_though_neither_is_the_right_one(
    reporting: TestClient, owner: int, body: str | None
) -> None:
    upload = {**self_signed(WWW), **({"body": body} if body else {})}
    versions = []
    certificate = store(reporting, owner, {**upload, "private_key": base64_of(b"one")})
    for key in (b"two", b"two", b"three"):
        answer = reporting.simulate_put(certificate, json={**upload, "private_key": base64_of(key)})
        versions.append(answer.json["version"])

    assert versions == [2, 2, 3]


def test_a_list_is_told_when_what_ends_before_it_begins_has_ended(
    reporting: TestClient, clock: Clock, owner: int
) -> None:
    case = read_case(CASES / "leaf-upside-down-ahead.json")
    clock.now = case.now
    store(
        reporting,
        owner,
        {"body": case.material.body, "private_key": base64_of(case.material.private_key)},
    )
    path = f"/users/{owner}/certificates"
    before = reporting.simulate_get(path)
    clock.now += 70 * DAY
    after = reporting.simulate_get(path, headers={"If-None-Match": before.headers["ETag"]})

    assert [one["status"] for one in before.json] == ["not_yet_valid"]
    assert [one["status"] for one in after.json] == ["expired"]
    assert "validity_invalid" in codes(after.json[0]["findings"])


def test_a_replacement_expects_what_was_read(
    reporting: TestClient, engine: sa.Engine, certificate: str
) -> None:
    tag = reporting.simulate_get(certificate).headers["ETag"]
    replace(reporting, certificate, WWW, SHOP)
    before = dump(engine)
    for method, path, body in (
        ("PUT", certificate, self_signed(WWW, SHOP)),
        ("POST", f"{certificate}/rollback", {"version": 1}),
    ):
        old = reporting.simulate_request(method, path, json=body, headers={"If-Match": tag})
        assert refusal(old) == (412, "precondition-failed", {})
        assert dump(engine) == before
        tag_now = reporting.simulate_get(certificate).headers["ETag"]
        new = reporting.simulate_request(method, path, json=body, headers={"If-Match": tag_now})
        assert new.status_code == 200
        before = dump(engine)


def test_hostnames_are_not_lost_unless_that_is_allowed(
    reporting: TestClient, engine: sa.Engine, certificate: str
) -> None:
    before = dump(engine)

    assert lost(replace(reporting, certificate, "new.example.com")) == [WWW, SHOP]
    assert lost(replace(reporting, certificate, "new.example.com", WWW)) == [SHOP]
    assert lost(replace(reporting, certificate, SHOP, allow_lost_hostnames=False)) == [WWW]
    assert dump(engine) == before
    answer = replace(reporting, certificate, SHOP, **ALLOWED)
    assert (answer.status_code, answer.json["hostnames"]) == (200, [SHOP])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([WWW, SHOP], ["*.example.com"], []),
        (["*.example.com"], ["*.example.com", WWW], []),
        # One label, and not the name below the asterisk; not the other way round either.
        (
            ["a.b.example.com", "example.com", WWW],
            ["*.example.com"],
            ["a.b.example.com", "example.com"],
        ),
        (["*.example.com"], [WWW, SHOP], ["*.example.com"]),
        ([WWW], ["*.www.example.com", "*.com.example"], [WWW]),
    ],
)
def test_a_wildcard_keeps_the_names_that_it_covers(
    reporting: TestClient, owner: int, before: list[str], after: list[str], expected: list[str]
) -> None:
    certificate = store(reporting, owner, self_signed(*before))
    answer = replace(reporting, certificate, *after)

    assert (answer.status_code == 200) is (expected == [])
    if expected:
        assert lost(answer) == expected


def test_the_last_five_versions_are_kept_newest_first(
    reporting: TestClient, engine: sa.Engine, certificate: str
) -> None:
    shown = [listed(reporting.simulate_get(certificate).json)]
    assert versions(reporting, certificate) == shown
    for _ in range(6):
        shown.insert(0, replace(reporting, certificate, WWW, SHOP).json)
        before = [
            {**one, "active": False, "status": "inactive"}
            if one["version"] < shown[0]["version"]
            else one
            for one in shown
        ]
        assert versions(reporting, certificate) == before[:5]

    assert [one["version"] for one in versions(reporting, certificate)] == [7, 6, 5, 4, 3]
    assert len(dump(engine)["certificate_versions"]) == 4
    assert len(dump(engine)["private_keys"]) == 5


@pytest.mark.both_backends
def test_versions_go_with_their_certificate(
    reporting: TestClient, engine: sa.Engine, certificate: str
) -> None:
    replace(reporting, certificate, WWW, SHOP)
    reporting.simulate_delete(certificate)

    assert dump(engine)["certificate_versions"] == []
    assert refusal(reporting.simulate_get(f"{certificate}/versions"))[0] == 404


def test_a_certificate_goes_back_to_what_it_was(
    reporting: TestClient, clock: Clock, stored_keys: StoredKeys, certificate: str
) -> None:
    first = listed(reporting.simulate_get(certificate).json)
    leaf = authority.a_leaf("Second", "second", hostnames=[WWW, SHOP])
    reporting.simulate_put(certificate, json=an_upload_of(leaf))
    clock.now += DAY
    answer = roll_back(reporting, certificate, 1)

    assert answer.status_code == 200
    expected = {**first, "version": 3, "updated_at": "2026-06-02T12:00:00Z"}
    assert answer.json == expected == listed(reporting.simulate_get(certificate).json)
    assert answer.headers["ETag"] == reporting.simulate_get(certificate).headers["ETag"]
    assert [one["version"] for one in versions(reporting, certificate)] == [3, 2, 1]
    assert list(stored_keys().values()) == [key_der(WWW), key_der("second"), key_der(WWW)]
    # And forth again.
    forth = roll_back(reporting, certificate, 2)
    assert (forth.json["version"], forth.json["body"]) == (4, pem(leaf))
    assert list(stored_keys().values())[3:] == [key_der("second")]


def test_going_back_twice_changes_nothing_more(
    reporting: TestClient, engine: sa.Engine, certificate: str
) -> None:
    replace(reporting, certificate, WWW, SHOP)
    first = roll_back(reporting, certificate, 1)
    before = dump(engine)

    for version in (1, 3):
        again = roll_back(reporting, certificate, version)
        assert (again.status_code, again.json) == (200, first.json)
    assert dump(engine) == before


@pytest.mark.parametrize("version", [3, 7, 2**31 - 1])
def test_there_is_no_going_back_to_what_never_was(
    reporting: TestClient, engine: sa.Engine, certificate: str, version: int
) -> None:
    replace(reporting, certificate, WWW, SHOP)
    before = dump(engine)

    assert refusal(roll_back(reporting, certificate, version)) == (404, "not-found", {})
    assert dump(engine) == before


def test_there_is_no_going_back_to_what_is_kept_no_more(
    reporting: TestClient, certificate: str
) -> None:
    for _ in range(5):
        replace(reporting, certificate, WWW, SHOP)

    assert refusal(roll_back(reporting, certificate, 1)) == (404, "not-found", {})
    assert roll_back(reporting, certificate, 2).status_code == 200


@pytest.mark.parametrize("version", [0, -1, 2**31, 1.5, "1", None, True])
def test_a_version_is_a_positive_number(
    reporting: TestClient, certificate: str, version: Any
) -> None:
    answer = roll_back(reporting, certificate, version)

    assert refusal(answer)[:2] == (422, "invalid")
    assert refusal(answer)[2].keys() == {"version"}


def test_going_back_loses_no_hostnames_unless_that_is_allowed(
    reporting: TestClient, engine: sa.Engine, owner: int
) -> None:
    certificate = store(reporting, owner, self_signed(WWW), active=True)
    replace(reporting, certificate, WWW, SHOP)
    before = dump(engine)

    refused = roll_back(reporting, certificate, 1)
    assert lost(refused) == [SHOP]
    assert refused.json["detail"].startswith("Version 1 cannot replace")
    assert "that version" in refused.json["errors"][0]["detail"]
    assert dump(engine) == before
    assert roll_back(reporting, certificate, 1, **ALLOWED).json["hostnames"] == [WWW]


def test_what_has_expired_is_gone_back_to_only_where_errors_are_reported(
    apps: Any, clock: Clock, engine: sa.Engine, owner: int
) -> None:
    certificate = store(apps.enforcing, owner, self_signed(WWW, end=5 * DAY))
    replace(apps.enforcing, certificate, WWW)
    clock.now += 6 * DAY
    before = dump(engine)

    answer = roll_back(apps.enforcing, certificate, 1)
    assert refusal(answer) == (409, "conflict", {"version": "expired"})
    assert dump(engine) == before
    assert roll_back(apps.reporting, certificate, 1).json["status"] == "expired"


@pytest.mark.both_backends
def test_replacements_at_once_come_one_after_the_other(
    reporting: TestClient, engine: sa.Engine, owner: int, certificate: str
) -> None:
    """Each is a version of its own; none is lost, and none is half of two."""
    uploads = [self_signed(WWW, SHOP) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(lambda one: reporting.simulate_put(certificate, json=one), uploads)
        )

    assert sorted(answer.json["version"] for answer in answers) == [2, 3, 4, 5]
    kept = versions(reporting, certificate)
    assert [one["version"] for one in kept] == [5, 4, 3, 2, 1]
    assert {one["body"] for one in kept[:4]} == {upload["body"] for upload in uploads}
    bodies = {answer.json["version"]: answer.json["body"] for answer in answers}
    assert all(bodies[one["version"]] == one["body"] for one in kept[:4])


@pytest.mark.both_backends
def test_of_replacements_that_expect_the_same_state_one_is_carried_out(
    reporting: TestClient, certificate: str
) -> None:
    tag = reporting.simulate_get(certificate).headers["ETag"]

    def send(upload: dict[str, Any]) -> int:
        headers = {"If-Match": tag}
        return int(reporting.simulate_put(certificate, json=upload, headers=headers).status_code)

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(send, [self_signed(WWW, SHOP) for _ in range(4)]))

    assert sorted(statuses) == [200, 412, 412, 412]


def test_a_replacement_completes_later_chains_too(
    enforcing: TestClient, owner: int, stranger: int
) -> None:
    issuing = authority.an_authority("Issuing", "Root")
    certificate = store(enforcing, owner, self_signed(WWW))
    replaced = enforcing.simulate_put(
        certificate, json=an_upload_of(authority.a_leaf("Issuing"), issuing)
    )
    alone = an_upload_of(authority.a_leaf("Issuing"))

    assert replaced.json["trust"] == "public"
    strangers = enforcing.simulate_get(store(enforcing, stranger, alone)).json
    assert strangers["trust"] == "public"
