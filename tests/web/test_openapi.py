"""The API description, and the service's agreement with it."""

import base64
import re
from pathlib import Path
from typing import Any

import falcon.inspect
import msgspec
import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import description
from customer_certificates.services.events.log import EVENT_TYPES
from customer_certificates.services.events.views import EventView
from customer_certificates.web.api_description.openapi import plain_template

from ..conftest import Backend
from ..credentials import bearer, make_token
from ..service import run

DESCRIPTION = description()
SCHEMAS = DESCRIPTION["components"]["schemas"]
OPERATIONS = [
    (path, method, operation)
    for path, methods in DESCRIPTION["paths"].items()
    for method, operation in methods.items()
    if method != "parameters"
]
OF_TERMINATORS = {
    (path, method)
    for path, method, operation in OPERATIONS
    if operation["security"] == [{"token": ["terminator"]}]
}
# Not the API, but what tells of it: to a browser, to a program, to Prometheus.
UNDESCRIBED = {"/", "/docs", "/docs/{name}", "/openapi.json", "/metrics"}
# The members of a problem that are the same in every answer of its kind.
KIND = ("type", "title", "status")


@pytest.fixture(params=["open", "closed"])
def door(request: pytest.FixtureRequest, backend: Backend, engine: sa.Engine) -> TestClient:
    """The application that asks for no credentials; and the one that does, with an operator's, or
    with a terminator's where operators may not ask."""
    if request.param == "open":
        client: TestClient = request.getfixturevalue("client")
        return client
    operator = bearer(make_token(engine, "operator"))
    return TestClient(request.getfixturevalue("closed").app, headers=operator)


@pytest.mark.one_combination("operation")
@pytest.mark.parametrize(
    "operation", [f"{method.upper()} {path}" for path, method, _ in OPERATIONS]
)
def test_every_answer_is_one_that_is_described(
    operation: str, door: TestClient, engine: sa.Engine
) -> None:
    """No 5xx; status, media type, headers and body as described; what the schema admits is
    accepted and what it does not admit is refused."""
    # Every process that collects tests would import Schemathesis, and make up all the requests.
    from ..generated_requests import send_all

    method, path = operation.split()

    def headers() -> dict[str, str]:
        sent = dict(door._default_headers or {})
        if sent and (path, method.lower()) in OF_TERMINATORS:
            sent = bearer(make_token(engine, "terminator"))
        return sent

    send_all(method, path, door, headers)


def test_the_file_is_current() -> None:
    written = Path(__file__).parents[2] / "swagger.yaml"

    assert run("openapi", {}).stdout == written.read_text(), "It is not: make swagger.yaml"


@pytest.mark.one_backend
def test_every_route_is_described(client: TestClient) -> None:
    served = {
        (plain_template(route.path), method.method.lower())
        for route in falcon.inspect.inspect_routes(client.app)
        for method in route.methods
        if not method.internal and method.method != "HEAD"
    }

    described = {(path, method) for path, method, _ in OPERATIONS}
    assert {(path, method) for path, method in served if path not in UNDESCRIBED} == described


def test_operations_can_be_told_apart_and_found() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    tags = {tag for _, _, operation in OPERATIONS for tag in operation["tags"]}

    assert len(ids) == len(set(ids))
    assert tags == {tag["name"] for tag in DESCRIPTION["tags"]}


def test_operation_ids_are_a_verb_and_a_noun() -> None:
    verbs = (
        "ask|cancel|check|create|delete|get|grant|list|register|release|redeliver|replace|replay|"
        "resolve|revoke|rollBack|rotate|send|set|test|update|upload|verify"
    )
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]

    assert [one for one in ids if not re.fullmatch(f"({verbs})[A-Z][A-Za-z]+", one)] == []


def test_the_body_of_each_event_is_described() -> None:
    described = DESCRIPTION["webhooks"]

    assert [*described] == [*EVENT_TYPES]
    for kind, webhook in described.items():
        content = webhook["post"]["requestBody"]["content"]["application/json"]
        assert msgspec.convert(content["example"], EventView).type == kind


def test_every_field_is_described() -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in SCHEMAS.items()
        for field, of in schema["properties"].items()
        if "description" not in of
    ]

    assert silent == []


# Examples that a service answers with another status than 2xx, and why.
REFUSED_EXAMPLES = {
    "POST /users": 409,  # the other test user has this email address already
    "POST /tokens": 409,  # a service without credentials creates no tokens
    "POST /users/{user_id}/console-links": 409,  # its console needs no link either
    "POST /users/{user_id}/hostnames/{hostname}/challenge/verify": 404,  # there is no challenge yet
    "POST /users/{user_id}/email-verification": 409,  # no mail server is configured
}


@pytest.mark.one_backend
def test_the_examples_are_accepted_as_they_are(client: TestClient, engine: sa.Engine) -> None:
    """The example of each write, as the page at /docs sends it, about things that exist."""
    first = client.simulate_post("/users", json=example("NewUser"))
    assert first.status_code == 201
    path = first.headers["Location"]
    refused = {}
    for number, (template, method, operation) in enumerate(OPERATIONS):
        if method not in ("post", "put", "patch") or "{verification_token}" in template:
            continue
        user = path
        if (template, method) != ("/users/{user_id}", "patch"):
            sent = {**example("NewUser"), "email": f"{number}@example.com"}
            sent["external_id"] = f"customer-{number}"
            user = client.simulate_post("/users", json=sent).headers["Location"]
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        found = things_of(client, user, template)
        sent = body.get("example")
        if sent and "user_id" in sent:
            sent = {**sent, "user_id": int(found["user_id"])}
        answer = client.simulate_request(method.upper(), template.format(**found), json=sent)
        if answer.status_code >= 300:
            refused[f"{method.upper()} {template}"] = answer.status_code
    assert refused == REFUSED_EXAMPLES


def things_of(client: TestClient, user: str, template: str) -> dict[str, str]:
    """Returns values for the placeholders of `template`: a new certificate, a new webhook."""
    ids = {"user_id": user.rpartition("/")[2], "hostname": "www.example.com"}
    if "{certificate_id}" in template:
        made = client.simulate_post(f"{user}/certificates", json=example("CertificateUpload"))
        ids["certificate_id"] = made.headers["Location"].rpartition("/")[2]
    if "{webhook_id}" in template:
        own = user if "{user_id}" in template else ""
        made = client.simulate_post(f"{own}/webhooks", json=example("NewWebhook"))
        ids["webhook_id"] = str(made.json["id"])
        if "{event_id}" in template:
            tested = client.simulate_post(f"{own}/webhooks/{made.json['id']}/test")
            ids["event_id"] = str(tested.json["event_id"])
    return ids


@pytest.mark.one_backend
def test_the_example_of_a_certificate_is_valid_and_belongs_to_its_key(
    client: TestClient, owner: int
) -> None:
    for names in (("body", "private_key"), ("pkcs12", "passphrase")):
        fields = SCHEMAS["CertificateUpload"]["properties"]
        sent = {name: fields[name]["examples"][0] for name in names}
        answer = client.simulate_post(f"/users/{owner}/certificates/check", json=sent)
        assert answer.status_code == 200
        assert answer.json["servable"] is True, answer.text


@pytest.mark.one_backend
def test_the_example_of_a_token_is_accepted(closed: TestClient, engine: sa.Engine) -> None:
    operator = bearer(make_token(engine, "operator"))
    user = example("NewUser")
    closed.simulate_post("/users", json=user, headers=operator)
    password = base64.b64encode(f"{user['email']}:{user['password']}".encode()).decode()

    made = closed.simulate_post(
        "/tokens", json=example("NewToken"), headers={"Authorization": f"Basic {password}"}
    )

    assert made.status_code == 201, made.text


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("refusal", "headers", "body"),
    [
        ("Malformed", {}, "["),
        ("Invalid", {}, '{"name": 1, "email": "ada@example.com", "password": "correct horse"}'),
        ("UnsupportedMediaType", {"Content-Type": "text/plain"}, "{}"),
        ("NotAcceptable", {"Accept": "text/html"}, "{}"),
        ("TooLarge", {}, "{}" + 256 * 1024 * " "),
        ("Forbidden", {"Origin": "http://elsewhere.example"}, "{}"),
    ],
)
def test_refusals_are_as_in_the_example(
    refusal: str, headers: dict[str, str], body: str, client: TestClient
) -> None:
    headers = {"Content-Type": "application/json", **headers}
    answer = client.simulate_post("/users", headers=headers, body=body).json

    described = DESCRIPTION["components"]["responses"][refusal]["content"]
    shown = described["application/problem+json"]["example"]
    assert {name: answer[name] for name in KIND} == {name: shown[name] for name in KIND}


@pytest.mark.one_backend
def test_a_certificate_comes_in_one_form(client: TestClient, owner: int) -> None:
    """Certificates are accepted as described: as text with a key, or as a file with both."""
    parts = {"body": "PEM", "private_key": "QUJD", "pkcs12": "QUJD"}
    schema = SCHEMAS["CertificateUpload"]
    assert schema["required"] == []
    for number in range(8):
        sent = {name: part for bit, (name, part) in enumerate(parts.items()) if number >> bit & 1}
        described = any(
            sent.keys() >= {*one["required"]} and not sent.keys() & one["properties"].keys()
            for one in schema["anyOf"]
        )
        answer = client.simulate_post(f"/users/{owner}/certificates", json=sent)
        assert (answer.status_code < 400) is described, sent


def example(name: str) -> dict[str, Any]:
    """Returns the body that /docs shows: the example, or one made of each field's example."""
    for _path, _method, operation in OPERATIONS:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if content.get("schema", {}).get("$ref", "").endswith(f"/{name}") and "example" in content:
            given: dict[str, Any] = content["example"]
            return given
    return {
        field: of["examples"][0] if "examples" in of else of["default"]
        for field, of in SCHEMAS[name]["properties"].items()
    }
