"""Requests that are made up from the description of the API, by Schemathesis."""

import re
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any
from uuid import uuid4

import schemathesis
from falcon.testing import TestClient
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests

from customer_certificates.app import description

from .examples import examples, is_sampled, phases_of_made_up_requests
from .factories import a_user, an_upload


def send_all(
    method: str, path: str, client: TestClient, headers: Callable[[], dict[str, str]]
) -> None:
    """Sends requests for one operation to the application of `client`, and requires that each
    answer is one that is described. Without `--long` these are some of those that cover the
    schema."""
    stock = _Stock(client)
    number = count()

    @settings(
        max_examples=examples(1),
        phases=phases_of_made_up_requests(),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    def send(case: schemathesis.Case[Any]) -> None:
        if not is_sampled(next(number)):
            return
        stock.aim(case)
        url = "http://localhost:9000"
        response = case.call_and_validate(base_url=url, app=client.app, headers=headers())
        stock.look_after(case, response)

    load_all_checks()
    operation = _schema(_expected(path)).include(method=method, path=path)
    (made,) = get_all_tests(schema=operation, test_func=send, settings=None, given_kwargs=None)
    assert isinstance(made, Ok)
    _, send_them = made.ok()
    send_them()


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

    The service may refuse a valid request because of stored data, so 412 is one of them.
    """
    if path == "/users/{user_id}/email-verification":
        # A user causes three mails an hour.
        return ["2xx", "404", "409", "412", "429"]
    if path == "/tokens":
        return ["2xx", "400", "409", "422"]
    usual = ["2xx", "304", "404", "409", "412"]
    # No schema says which texts are hostnames or names to prove, which times are in the future,
    # which passwords are common, which URLs webhooks and portals may have, or which fields go
    # together.
    more_than_a_schema = (
        r"^/(resolve|incidents|terminators/caddy/ask)$|/hostnames|/webhooks|/console-links$"
        r"|^/users(/\{user_id\}(/certificates(/\{certificate_id\})?)?)?$"
    )
    return [*usual, "422"] if re.search(more_than_a_schema, path) else usual


def _schema(expected: list[str]) -> schemathesis.BaseSchema:
    checks = {"positive_data_acceptance": {"expected-statuses": expected}}
    config = {"generation": {"deterministic": True}, "checks": checks}
    return schemathesis.openapi.from_dict(
        _without_security(), config=schemathesis.Config.from_dict(config)
    )


def _whole(content: Any) -> Any:
    """The same with integers for numbers that are whole."""
    match content:
        case float() if content.is_integer():
            return int(content)
        case dict():
            return {name: _whole(of) for name, of in content.items()}
        case list():
            return [_whole(of) for of in content]
    return content


class _Stock:
    """A user and a certificate that are there whenever a request asks for them."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self._ids = self._new()

    def aim(self, case: schemathesis.Case[Any]) -> None:
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
        case.body = _whole(case.body)

    def look_after(self, case: schemathesis.Case[Any], response: schemathesis.Response) -> None:
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
