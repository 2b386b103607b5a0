import base64
import hashlib
import re
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from ..conftest import StoredKeys
from ..factories import a_pair, an_upload, listed
from ..middleware.test_access_log import lines
from ..service import Service
from ..tables import dump
from . import refusal

pytestmark = pytest.mark.one_backend

# The fields of the response to an upload. A read of the certificate has the same and more.
UPLOADED = {
    "id",
    "user_id",
    "active",
    "trust",
    "hostnames",
    "not_before",
    "not_after",
    "fingerprint_sha256",
    "findings",
    "servable",
    "not_servable_reason",
    "pending",
}


@pytest.fixture
def certificate(client: TestClient, owner: int) -> str:
    """The path of the owner's inactive certificate."""
    answer = client.simulate_post(f"/users/{owner}/certificates", json=an_upload())
    return str(answer.headers["Location"])


@pytest.mark.parametrize("active", [True, False])
def test_a_certificate_is_uploaded(client: TestClient, owner: int, active: bool) -> None:
    upload = an_upload(active=active)
    answer = client.simulate_post(f"/users/{owner}/certificates", json=upload)

    certificate_id = answer.json["id"]
    assert answer.status_code == 201
    assert answer.json.keys() == UPLOADED
    assert (answer.json["user_id"], answer.json["active"]) == (owner, active)
    assert answer.headers["Location"] == f"/users/{owner}/certificates/{certificate_id}"
    shown = client.simulate_get(answer.headers["Location"])
    created_at = shown.json["created_at"]
    assert shown.status_code == 200
    assert {name: shown.json[name] for name in UPLOADED} == answer.json
    assert (shown.json["body"], shown.json["updated_at"]) == (upload["body"], created_at)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", created_at)
    assert client.simulate_get(f"/users/{owner}/certificates").json == [listed(shown.json)]


def test_a_certificate_is_inactive_unless_it_says_otherwise(
    client: TestClient, certificate: str
) -> None:
    assert client.simulate_get(certificate).json["active"] is False


def test_a_key_is_stored_in_one_form_whatever_it_came_in(
    client: TestClient, stored_keys: StoredKeys, owner: int
) -> None:
    """PKCS#8 in DER; so whoever serves it need not know them all."""
    client.simulate_post(f"/users/{owner}/certificates", json=an_upload())

    assert list(stored_keys().values()) == [a_pair().key_der]


@pytest.mark.parametrize("key", [b"\x00", b"\xff\xfe\xfd", bytes(range(256)), b"?" * 16_384])
def test_what_is_no_key_is_stored_as_it_came(
    client: TestClient, stored_keys: StoredKeys, owner: int, key: bytes
) -> None:
    upload = an_upload(private_key=base64.b64encode(key).decode())
    answer = client.simulate_post(f"/users/{owner}/certificates", json=upload)

    assert answer.status_code == 201
    assert list(stored_keys().values()) == [key]


@pytest.mark.both_backends
@pytest.mark.parametrize(
    "body",
    ["x", " \r\n\t", "–— ‮ é é 👩‍💻", "\u2028\x7f\x1f", "\ufeffBOM", "x" * 16_384, '"\\u0000"'],
)
def test_bodies_come_back_as_they_came(client: TestClient, owner: int, body: str) -> None:
    answer = client.simulate_post(f"/users/{owner}/certificates", json=an_upload(body=body))

    assert client.simulate_get(answer.headers["Location"]).json["body"] == body
    (listed,) = client.simulate_get(f"/users/{owner}/certificates").json
    assert listed["body"] == body


def test_a_list_is_filtered_by_active(client: TestClient, owner: int, stranger: int) -> None:
    path = f"/users/{owner}/certificates"
    for user_id, hostname in ((owner, "www.example.com"), (stranger, "www.example.org")):
        for active in (True, False, True):
            upload = an_upload(hostname, active=active)
            answer = client.simulate_post(f"/users/{user_id}/certificates", json=upload)
            assert answer.status_code == 201
    everything = client.simulate_get(path).json

    assert [shown["active"] for shown in everything] == [True, False, True]
    assert {shown["user_id"] for shown in everything} == {owner}
    for query, active in (("true", True), ("false", False)):
        answer = client.simulate_get(path, params={"active": query})
        some = [shown for shown in everything if shown["active"] is active]
        assert (answer.status_code, answer.json) == (200, some)


@pytest.mark.parametrize("value", ["", "True", "1", "0", "yes", "null", "true ", "true,false"])
def test_active_is_true_or_false(client: TestClient, owner: int, value: str) -> None:
    answer = client.simulate_get(f"/users/{owner}/certificates", params={"active": value})

    assert refusal(answer) == (422, "invalid", {"active": "invalid_parameter"})


def test_a_certificate_is_activated_and_deactivated(
    client: TestClient, owner: int, certificate: str
) -> None:
    shown = client.simulate_get(certificate).json
    for active in (True, False):
        answer = client.simulate_patch(f"{certificate}/active", json={"active": active})

        assert (answer.status_code, answer.json) == (202, {"id": shown["id"], "active": active})
        expected = {**shown, "active": active, "status": "active" if active else "inactive"}
        assert client.simulate_get(certificate).json == expected
        assert client.simulate_get(f"/users/{owner}/certificates").json == [listed(expected)]


@pytest.mark.parametrize("body", [{"active": True}, {"active": True, "notify": False}])
def test_activating_what_is_active_changes_nothing(
    client: TestClient, engine: sa.Engine, owner: int, certificate: str, body: dict[str, Any]
) -> None:
    first = client.simulate_patch(f"{certificate}/active", json=body)
    before = dump(engine)
    tag = client.simulate_get(f"/users/{owner}/certificates").headers["ETag"]
    again = client.simulate_patch(f"{certificate}/active", json=body)

    assert (again.status_code, again.json) == (202, first.json)
    assert dump(engine) == before
    assert client.simulate_get(f"/users/{owner}/certificates").headers["ETag"] == tag


def test_each_change_of_a_list_changes_its_tag(client: TestClient, owner: int) -> None:
    path = f"/users/{owner}/certificates"
    tags = [client.simulate_get(path).headers["ETag"]]
    certificate = client.simulate_post(path, json=an_upload()).headers["Location"]
    tags.append(client.simulate_get(path).headers["ETag"])
    for active in (True, False):
        client.simulate_patch(f"{certificate}/active", json={"active": active})
        tags.append(client.simulate_get(path).headers["ETag"])
    client.simulate_delete(certificate)
    tags.append(client.simulate_get(path).headers["ETag"])

    assert len(set(tags)) == 5


def test_a_certificate_is_deleted(
    client: TestClient, engine: sa.Engine, owner: int, certificate: str
) -> None:
    kept = client.simulate_post(f"/users/{owner}/certificates", json=an_upload()).json["id"]
    answer = client.simulate_delete(certificate)

    assert (answer.status_code, answer.content) == (204, b"")
    assert [row[0] for row in dump(engine)["certificates"]] == [kept]
    assert [shown["id"] for shown in client.simulate_get(f"/users/{owner}/certificates").json] == [
        kept
    ]
    for again in (client.simulate_delete(certificate), client.simulate_get(certificate)):
        assert refusal(again) == (404, "not-found", {})
    gone = client.simulate_patch(f"{certificate}/active", json={"active": True})
    assert refusal(gone) == (404, "not-found", {})


@pytest.mark.both_backends
def test_a_deleted_certificates_id_is_no_others(
    client: TestClient, owner: int, certificate: str
) -> None:
    deleted = client.simulate_get(certificate).json["id"]
    client.simulate_delete(certificate)

    answer = client.simulate_post(f"/users/{owner}/certificates", json=an_upload())
    assert answer.json["id"] > deleted


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("GET", "", None),
        ("PUT", "", an_upload("www.example.org")),
        ("DELETE", "", None),
        ("PATCH", "/active", {"active": True}),
        ("GET", "/versions", None),
        ("POST", "/rollback", {"version": 1}),
    ],
)
def test_anothers_certificate_is_as_one_that_is_not_there(
    client: TestClient,
    engine: sa.Engine,
    owner: int,
    stranger: int,
    method: str,
    suffix: str,
    body: dict[str, Any] | None,
) -> None:
    """Byte for byte, headers too, but for the request's id."""
    uploaded = client.simulate_post(f"/users/{owner}/certificates", json=an_upload()).json["id"]
    before = dump(engine)
    path = f"/users/{stranger}/certificates/{uploaded}{suffix}"

    anothers = client.simulate_request(method, path, json=body)
    assert dump(engine) == before
    client.simulate_delete(f"/users/{owner}/certificates/{uploaded}")
    missing = client.simulate_request(method, path, json=body)

    ids = anothers.headers["X-Request-Id"], missing.headers["X-Request-Id"]
    assert refusal(anothers) == (404, "not-found", {})
    assert anothers.text.replace(*ids) == missing.text
    assert {name: value.replace(*ids) for name, value in anothers.headers.items()} == dict(
        missing.headers
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_list_of_nobody_is_not_there(
    client: TestClient, engine: sa.Engine, owner: int, method: str
) -> None:
    body = an_upload() if method == "POST" else None
    client.simulate_delete(f"/users/{owner}")
    answer = client.simulate_request(method, f"/users/{owner}/certificates", json=body)

    assert refusal(answer) == (404, "not-found", {})
    assert dump(engine)["certificates"] == []


def test_a_private_key_is_in_no_answer_and_no_log(service: Service) -> None:
    """In no form: as it is, in base64, in hex; and not where the request is refused either."""
    key = hashlib.sha512(b"the owner's").digest()
    as_sent = base64.b64encode(key).decode()
    good = {"body": "PEM", "private_key": as_sent}
    answers = []
    with service.client(headers={"Accept": "application/json"}) as client:
        user = client.post(
            "/users", json={"name": "Ada", "email": "ada@example.com", "password": "x"}
        ).headers["Location"]
        path = f"{user}/certificates"
        uploaded = client.post(path, json=good)
        certificate = uploaded.headers["Location"]
        for body in (
            {"private_key": as_sent},
            {"private_key": f"{as_sent}\x00\n", "body": "PEM"},
            {"private_key": f"KEY-----\n{as_sent}\n-----", "body": "PEM"},
            {"pkcs12": f"{as_sent}*"},
            {"private_key": f"{as_sent[:-1]}!", "body": "PEM"},
            {"private_key": [as_sent], "body": "PEM"},
            {"private_key": {"key": as_sent}, "body": 1},
            {"privat_key": as_sent, "body": "PEM"},
            {**good, "active": as_sent},
            {**good, "unknown": as_sent},
            [as_sent],
            as_sent,
        ):
            answers.append(client.post(path, json=body))
            assert answers[-1].status_code in (400, 422)
        for content in (f'{{"private_key": "{as_sent}"', f'{{"private_key": "{as_sent}\x00"}}'):
            answers.append(
                client.post(path, content=content, headers={"Content-Type": "application/json"})
            )
            assert answers[-1].status_code == 400
        answers += [
            uploaded,
            client.post(path, json=good, headers={"Content-Type": "text/plain"}),
            client.post(path, json=good, headers={"If-Match": '"another"'}),
            client.post("/users/9223372036854775807/certificates", json=good),
            client.patch(f"{certificate}/active", json={"active": True}),
            client.patch(f"{certificate}/active", json={"active": True, **good}),
            client.get(certificate),
            client.get(path),
            client.get(f"{path}?active=true"),
            client.get(user),
            client.get("/metrics"),
            client.delete(certificate),
            client.delete(user),
        ]
    told = "".join(f"{answer.headers}{answer.text}" for answer in answers)
    for answer in answers:
        assert lines(service.log, answer.headers["X-Request-Id"])
    log = service.log.read_text("utf-8", "replace")

    assert all(answer.status_code < 500 for answer in answers)
    encodings = {
        as_sent[:40],
        base64.urlsafe_b64encode(key).decode()[:40],
        base64.b64encode(as_sent.encode()).decode()[:40],
        key.hex()[:40],
        key.hex()[:40].upper(),
        str(key)[2:40],
        key.decode("latin-1")[:10],
    }
    assert {form for form in encodings if form in told + log} == set()
