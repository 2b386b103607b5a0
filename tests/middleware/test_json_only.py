import json

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from ..factories import a_user
from ..resources import refusal
from ..tables import NOTHING, dump

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8;x=y",
        "Application/JSON",
        " application/json ",
    ],
)
def test_json_is_read(client: TestClient, content_type: str) -> None:
    answer = client.simulate_post(
        "/users", body=json.dumps(a_user()), headers={"Content-Type": content_type}
    )

    assert answer.status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json-patch+json",
        "application/problem+json",
        "application/json, text/plain",
        "json",
        "*/*",
        "é",
        ";application/json",
    ],
)
def test_a_body_that_is_not_declared_json_is_refused(
    client: TestClient, engine: sa.Engine, owner: int, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    before = dump(engine)

    for method, path in (
        ("POST", "/users"),
        ("PATCH", f"/users/{owner}"),
        ("POST", f"/users/{owner}/certificates"),
        ("PATCH", f"/users/{owner}/certificates/1/active"),
        ("DELETE", f"/users/{owner}"),
    ):
        answer = client.simulate_request(method, path, body=json.dumps(a_user()), headers=headers)
        assert refusal(answer) == (415, "unsupported-media-type", {})
    assert dump(engine) == before


def test_a_request_without_a_body_needs_no_content_type(client: TestClient, owner: int) -> None:
    assert client.simulate_get(f"/users/{owner}").status_code == 200
    assert refusal(client.simulate_post("/users")) == (400, "malformed", {})
    assert client.simulate_delete(f"/users/{owner}").status_code == 204


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "application/*",
        "application/json",
        "application/json;q=0.1",
        "text/html, application/json;q=0.9",
        "text/html, */*;q=0.1",
        "application/problem+json, application/json",
        "application/problem+json",
    ],
)
def test_json_is_answered(client: TestClient, owner: int, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = client.simulate_get(f"/users/{owner}", headers=headers)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/*",
        "application/xml",
        "application/jsonp",
        "application/json;q=0",
        "image/png, text/html;q=0.5",
        "*/*;q=0",
        "nonsense",
        "application/json;q=many",
    ],
)
def test_a_request_that_accepts_no_json_changes_nothing(
    client: TestClient, engine: sa.Engine, accept: str
) -> None:
    answer = client.simulate_post("/users", json=a_user(), headers={"Accept": accept})

    assert refusal(answer) == (406, "not-acceptable", {})
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert dump(engine) == NOTHING


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/problem+json"),
        ("", "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/*", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("application/json, application/problem+json", "application/problem+json"),
        ("application/json, */*", "application/problem+json"),
        ("application/json", "application/json"),
        ("application/json;q=0.5", "application/json"),
        ("application/json, text/html", "application/json"),
        ("application/json, */*;q=0", "application/json"),
        ("text/html", "application/problem+json"),
    ],
)
@pytest.mark.parametrize("path", ["/users/9223372036854775807", "/nothing"])
def test_a_problem_has_a_media_type_that_the_client_accepts(
    client: TestClient, path: str, accept: str | None, content_type: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = client.simulate_get(path, headers=headers)

    assert answer.headers["Content-Type"] == content_type
    assert answer.status_code == (406 if accept == "text/html" and path != "/nothing" else 404)


@pytest.mark.parametrize("path", ["/metrics", "/docs"])
@pytest.mark.parametrize("accept", ["text/html", "text/plain", "application/xml", "*/*"])
def test_other_clients_are_exempt(client: TestClient, path: str, accept: str) -> None:
    answer = client.simulate_get(path, headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/")


def test_a_chunked_body_is_declared_too(client: TestClient) -> None:
    """The request has a body without a Content-Length."""
    answer = client.simulate_post(
        "/users", body=json.dumps(a_user()), headers={"Transfer-Encoding": "chunked"}
    )

    assert refusal(answer) == (415, "unsupported-media-type", {})
