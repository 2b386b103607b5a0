"""The description of the API, and whether the service does what it says."""

import re
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import falcon.inspect
import pytest
import schemathesis
import sqlalchemy as sa
from falcon.testing import TestClient
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.pytest.lazy import get_all_tests

from customer_certificates.app import description
from customer_certificates.resources.openapi import plain_template

from .conftest import Backend
from .credentials import bearer, make_token
from .examples import examples
from .factories import a_user, an_upload
from .service import run

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
UNDESCRIBED = {"/docs", "/docs/{name}", "/openapi.json", "/metrics"}
# The members of a problem that are the same in every answer of its kind.
KIND = ("type", "title", "status")


@cache
def _without_security() -> dict[str, Any]:
    """The description for those who have all rights; test_tenants has who has not."""
    described = description()
    for methods in described["paths"].values():
        for method, operation in methods.items():
            if method != "parameters":
                del operation["security"]
    del described["components"]["securitySchemes"]
    return described


def _expected(path: str) -> list[str]:
    """The statuses of answers to what the schema admits.

    What is valid may be refused for what is stored: 412 is added to the usual ones.
    """
    if path == "/users/{user_id}/email-verification":
        # A user causes three mails an hour.
        return ["2xx", "404", "409", "412", "429"]
    if path == "/tokens":
        return ["2xx", "400", "409", "422"]
    usual = ["2xx", "304", "404", "409", "412"]
    # No schema says which texts are hostnames or names to prove, which times are in the future,
    # which passwords are common, which URLs webhooks may have, or which fields go together.
    more_than_a_schema = (
        r"^/(resolve|terminators/caddy/ask)$|/hostnames|/webhooks"
        r"|^/users(/\{user_id\}(/certificates(/\{certificate_id\})?)?)?$"
    )
    return [*usual, "422"] if re.search(more_than_a_schema, path) else usual


def _schema(expected: list[str]) -> schemathesis.BaseSchema:
    checks = {"positive_data_acceptance": {"expected-statuses": expected}}
    config = {"generation": {"deterministic": True}, "checks": checks}
    return schemathesis.openapi.from_dict(
        _without_security(), config=schemathesis.Config.from_dict(config)
    )


def whole(content: Any) -> Any:
    """The same with integers for numbers that are whole."""
    match content:
        case float() if content.is_integer():
            return int(content)
        case dict():
            return {name: whole(of) for name, of in content.items()}
        case list():
            return [whole(of) for of in content]
    return content


class Stock:
    """A user and a certificate that are there whenever a request asks for them."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self._ids = self._new()

    def aim(self, case: schemathesis.Case) -> None:
        """Makes a request with odd ids one about what is there; no generated id would be."""
        for name, living in self._ids.items():
            wanted = case.path_parameters.get(name)
            if isinstance(wanted, int) and 0 < wanted < 2**63 and wanted % 2:
                case.path_parameters[name] = living
        headers: Any = case.headers or {}
        if re.fullmatch("[!-~]{1,255}", str(headers.get("Idempotency-Key", ""))):
            # The same short key would come again, with another request.
            headers["Idempotency-Key"] = str(uuid4())
        # To JSON Schema 1.0 is an integer; here it is not.
        case.body = whole(case.body)

    def look_after(self, case: schemathesis.Case, response: schemathesis.Response) -> None:
        """Makes new ones if the request deleted any."""
        if case.method == "DELETE" and response.status_code < 400:
            self._ids = self._new()

    def _new(self) -> dict[str, int]:
        user_id = self._client.simulate_post("/users", json=a_user()).json["id"]
        upload = self._client.simulate_post(f"/users/{user_id}/certificates", json=an_upload())
        hook = {"url": "https://hooks.example.com/"}
        webhook = self._client.simulate_post(f"/users/{user_id}/webhooks", json=hook)
        event_id = self._client.simulate_get(f"/users/{user_id}/events").json[0]["id"]
        return {
            "user_id": user_id,
            "certificate_id": upload.json["id"],
            "webhook_id": webhook.json["id"],
            "event_id": event_id,
        }


@pytest.fixture(params=["open", "closed"])
def door(request: pytest.FixtureRequest, backend: Backend, engine: sa.Engine) -> TestClient:
    """The application that asks for no credentials; and the one that does, with an operator's, or
    with a terminator's where operators may not ask."""
    if request.param == "open":
        client: TestClient = request.getfixturevalue("client")
        return client
    operator = bearer(make_token(engine, "operator"))
    return TestClient(request.getfixturevalue("closed").app, headers=operator)


@pytest.fixture(params=[f"{method.upper()} {path}" for path, method, _ in OPERATIONS])
def operation(request: pytest.FixtureRequest) -> schemathesis.BaseSchema:
    """The description of one operation."""
    method, path = request.param.split()
    return _schema(_expected(path)).include(method=method, path=path)


@pytest.fixture
def stock(door: TestClient) -> Stock:
    return Stock(door)


@pytest.mark.one_combination("operation")
def test_every_answer_is_one_that_is_described(
    operation: schemathesis.BaseSchema, door: TestClient, stock: Stock, engine: sa.Engine
) -> None:
    """No 5xx; status, media type, headers and body as described; what the schema admits is
    accepted and what it does not admit is refused."""

    @settings(max_examples=examples(3), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def send(case: schemathesis.Case) -> None:
        stock.aim(case)
        headers = dict(door._default_headers or {})
        if headers and (case.path, case.method.lower()) in OF_TERMINATORS:
            headers = bearer(make_token(engine, "terminator"))
        url = "http://localhost:9000"
        response = case.call_and_validate(base_url=url, app=door.app, headers=headers)
        stock.look_after(case, response)

    load_all_checks()
    # The requests are made up here: every process would do it for all operations if it had to
    # collect one test for each.
    (made,) = get_all_tests(schema=operation, test_func=send, settings=None, given_kwargs=None)
    _, send_all = made.ok()
    send_all()


def test_the_file_is_current() -> None:
    written = Path(__file__).parents[1] / "swagger.yaml"

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


def test_every_field_is_described() -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in SCHEMAS.items()
        for field, of in schema["properties"].items()
        if "description" not in of
    ]

    assert silent == []


@pytest.mark.one_backend
def test_the_examples_work_as_they_are(client: TestClient) -> None:
    user = client.simulate_post("/users", json=example("NewUser"))
    assert user.status_code == 201
    url = user.headers["Location"]
    assert client.simulate_patch(url, json=example("UserChanges")).status_code == 200
    upload = client.simulate_post(f"{url}/certificates", json=example("CertificateUpload"))
    assert upload.status_code == 201
    active = f"{upload.headers['Location']}/active"
    assert client.simulate_patch(active, json=example("Activation")).status_code == 202


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
    """As text with its key, or as a file that has both: what is described is what is taken."""
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
    """The body that the page at /docs shows: the one given, or made of each field's example."""
    for _path, _method, operation in OPERATIONS:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if content.get("schema", {}).get("$ref", "").endswith(f"/{name}") and "example" in content:
            given: dict[str, Any] = content["example"]
            return given
    return {
        field: of["examples"][0] if "examples" in of else of["default"]
        for field, of in SCHEMAS[name]["properties"].items()
    }
