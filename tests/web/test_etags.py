from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from ..factories import a_user, an_upload
from ..resources import refusal
from ..tables import NOTHING, add_users, dump

pytestmark = pytest.mark.one_backend

OTHER = '"5d41402abc4b2a76b9719d911017c592"'


class Place:
    """A resource, and a way to change it."""

    def __init__(self, path: str, method: str, change_path: str, body: dict[str, Any]) -> None:
        self.path = path
        self.change = method, change_path, body


@pytest.fixture
def certificate(client: TestClient, owner: int) -> str:
    """The path of the owner's inactive certificate."""
    answer = client.simulate_post(f"/users/{owner}/certificates", json=an_upload())
    return str(answer.headers["Location"])


@pytest.fixture(params=["users", "user", "certificates", "active certificates", "certificate"])
def place(request: pytest.FixtureRequest, owner: int, certificate: str) -> Place:
    user = f"/users/{owner}"
    activate = "PATCH", f"{certificate}/active", {"active": True}
    return {
        "users": Place("/users", "POST", "/users", a_user()),
        "user": Place(user, "PATCH", user, {"name": "Grace"}),
        "certificates": Place(f"{user}/certificates", *activate),
        "active certificates": Place(f"{user}/certificates?active=true&limit=2", *activate),
        "certificate": Place(certificate, *activate),
    }[request.param]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "header",
    ["{tag}", "W/{tag}", "*", " * ", "{other}, {tag}", '"a", W/"b,c",{tag}', "{tag},{tag}"],
)
def test_a_matching_etag_gets_304(
    client: TestClient, place: Place, method: str, header: str
) -> None:
    tag = client.simulate_get(place.path).headers["ETag"]
    known = header.format(tag=tag, other=OTHER)
    answer = client.simulate_request(method, place.path, headers={"If-None-Match": known})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == tag
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "header", ["{other}", 'W/{other}, "x"', "", ",", '"*"', '"{bare}x"', '"', "é", "{bare},"]
)
def test_another_etag_gets_the_content(client: TestClient, place: Place, header: str) -> None:
    first = client.simulate_get(place.path)
    tag = first.headers["ETag"]
    known = header.format(other=OTHER, bare=tag.strip('"'))
    answer = client.simulate_get(place.path, headers={"If-None-Match": known})

    assert (answer.status_code, answer.text) == (200, first.text)
    assert answer.headers["ETag"] == tag


def test_a_tag_is_strong_and_names_one_state(client: TestClient, place: Place) -> None:
    method, path, body = place.change
    before = client.simulate_get(place.path)
    again = client.simulate_get(place.path)
    assert client.simulate_request(method, path, json=body).status_code < 300
    after = client.simulate_get(place.path, headers={"If-None-Match": before.headers["ETag"]})

    assert again.headers["ETag"] == before.headers["ETag"]
    assert before.headers["ETag"].startswith('"')
    assert after.status_code == 200
    assert after.headers["ETag"] != before.headers["ETag"]
    assert after.text != before.text


def test_responses_must_be_revalidated(client: TestClient, place: Place) -> None:
    assert client.simulate_get(place.path).headers["Cache-Control"] == "private, no-cache"


def test_a_full_last_page_gets_its_link_when_more_follow(
    client: TestClient, engine: sa.Engine
) -> None:
    """A page of users may be the same as before, and yet no longer the last one."""
    add_users(engine, 2)
    first = client.simulate_get("/users", params={"limit": 2})
    add_users(engine, 1)
    again = client.simulate_get(
        "/users", params={"limit": 2}, headers={"If-None-Match": first.headers["ETag"]}
    )

    assert "Link" not in first.headers
    assert "Link" in again.headers


class Write:
    """A write, the path of its ETag, and a way to change the state."""

    def __init__(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        read: str,
        change: tuple[str, str, dict[str, Any]],
    ) -> None:
        self.method = method
        self.path = path
        self.body = body
        self.read = read
        self.change = change

    def send(self, client: TestClient, expected: str) -> Any:
        return client.simulate_request(
            self.method, self.path, json=self.body, headers={"If-Match": expected}
        )


@pytest.fixture(
    params=["change user", "delete user", "upload", "activate", "activate again", "delete"]
)
def write(request: pytest.FixtureRequest, owner: int, certificate: str) -> Write:
    user, certificates = f"/users/{owner}", f"/users/{owner}/certificates"
    rename = "PATCH", user, {"name": "Grace"}
    upload = "POST", certificates, an_upload()
    activate = "PATCH", f"{certificate}/active", {"active": True}
    return {
        "change user": Write("PATCH", user, {"name": "Ada"}, user, rename),
        "delete user": Write("DELETE", user, None, user, rename),
        "upload": Write("POST", certificates, an_upload(), certificates, upload),
        "activate": Write(*activate, certificate, activate),
        "activate again": Write(
            "PATCH", f"{certificate}/active", {"active": False}, certificate, activate
        ),
        "delete": Write("DELETE", certificate, None, certificate, activate),
    }[request.param]


@pytest.mark.parametrize("header", ["{tag}", "*", "{other}, {tag}", 'W/"x",{tag}'])
def test_a_write_with_the_current_etag_succeeds(
    client: TestClient, write: Write, header: str
) -> None:
    tag = client.simulate_get(write.read).headers["ETag"]

    assert write.send(client, header.format(tag=tag, other=OTHER)).status_code < 300


@pytest.mark.parametrize("header", ["{other}", "W/{tag}", "", '"*"', 'W/{tag}, "x"', "é", '"'])
def test_a_write_with_another_etag_is_rejected(
    client: TestClient, engine: sa.Engine, write: Write, header: str
) -> None:
    tag = client.simulate_get(write.read).headers["ETag"]
    before = dump(engine)
    answer = write.send(client, header.format(tag=tag, other=OTHER))

    assert refusal(answer) == (412, "precondition-failed", {})
    assert dump(engine) == before


def test_a_write_with_an_outdated_etag_is_rejected(
    client: TestClient, engine: sa.Engine, write: Write
) -> None:
    tag = client.simulate_get(write.read).headers["ETag"]
    method, path, body = write.change
    assert client.simulate_request(method, path, json=body).status_code < 300
    before = dump(engine)

    assert refusal(write.send(client, tag)) == (412, "precondition-failed", {})
    assert dump(engine) == before
    now = client.simulate_get(write.read).headers["ETag"]
    assert write.send(client, now).status_code < 300


def test_a_write_to_a_missing_resource_is_a_404(
    client: TestClient, engine: sa.Engine, write: Write, owner: int
) -> None:
    client.simulate_delete(f"/users/{owner}")

    assert refusal(write.send(client, "*")) == (404, "not-found", {})
    assert refusal(write.send(client, OTHER)) == (404, "not-found", {})
    assert dump(engine) == NOTHING


@pytest.mark.both_backends
def test_of_two_writes_with_one_etag_only_the_first_succeeds(
    client: TestClient, owner: int
) -> None:
    path = f"/users/{owner}"
    expected = {"If-Match": client.simulate_get(path).headers["ETag"]}
    first = client.simulate_patch(path, json={"name": "First"}, headers=expected)
    second = client.simulate_patch(path, json={"name": "Second"}, headers=expected)

    assert (first.status_code, second.status_code) == (200, 412)
    assert client.simulate_get(path).json["name"] == "First"
    assert client.simulate_get(path).headers["ETag"] == first.headers["ETag"]


def test_a_list_that_no_write_changed_keeps_its_tag(client: TestClient, certificate: str) -> None:
    path = certificate.rpartition("/")[0]
    tag = client.simulate_get(path).headers["ETag"]
    client.simulate_post(path, json=an_upload(), headers={"If-Match": OTHER})
    client.simulate_post(path, json=an_upload(body=1))
    client.simulate_delete(certificate, headers={"If-Match": OTHER})
    client.simulate_delete(f"{path}/9223372036854775807")
    client.simulate_patch(f"{certificate}/active", json={"active": None})

    assert client.simulate_get(path).headers["ETag"] == tag
