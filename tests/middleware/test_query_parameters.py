"""Misspelled query parameters are rejected on every route."""

from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import description

from ..resources import refusal
from ..tables import dump

pytestmark = pytest.mark.one_backend

# The clients of these are not ours, or pass on links that others have added parameters to.
TOLERANT = {"/terminators/caddy", "/terminators/caddy/ask", "/email-verifications/{}"}
OPERATIONS = [
    (method.upper(), path)
    for path, methods in description()["paths"].items()
    for method in methods
    if method != "parameters"
] + [("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/docs")]


def path_of(template: str, owner: int) -> str:
    """Returns a path of the template: of an existing user, and of missing resources."""
    path = template.replace("{user_id}", str(owner)).replace("{hostname}", "www.example.com")
    return "/".join("7" if part.startswith("{") else part for part in path.split("/"))


def test_every_operation_refuses_them(client: TestClient, engine: sa.Engine, owner: int) -> None:
    before = dump(engine)
    accepted = set()
    for method, template in OPERATIONS:
        body: Any = {} if method in ("POST", "PUT", "PATCH") else None
        path = path_of(template, owner)
        answer = client.simulate_request(method, f"{path}?limitt=1", json=body)
        refused = answer.status_code == 422 and refusal(answer)[2]
        if not refused or refused.get("limitt") != "unknown_parameter":
            accepted.add(template.replace("{verification_token}", "{}"))
    assert accepted == TOLERANT
    assert dump(engine) == before


def test_the_finding_suggests_the_nearest_name(client: TestClient, owner: int) -> None:
    answer = client.simulate_get(f"/users/{owner}/certificates?hostnme=a.example&Limit=x&limit=x")

    assert refusal(answer)[2] == {
        "hostnme": "unknown_parameter",
        "Limit": "unknown_parameter",
        "limit": "invalid_parameter",
    }
    hostname, limit, _ = answer.json["errors"]
    assert hostname["detail"] == (
        'There is no query parameter "hostnme" here. Did you mean hostname?'
    )
    assert "expires_before" in hostname["hint"]
    assert limit["detail"].endswith("Did you mean limit?")


def test_a_name_is_shown_short_and_escaped(client: TestClient) -> None:
    answer = client.simulate_get(f"/users?%00{'x' * 500}=1")

    (finding,) = answer.json["errors"]
    assert finding["detail"] == f'There is no query parameter "\\x00{"x" * 39}…" here.'
