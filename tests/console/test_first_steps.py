"""The first pages of a new service without credentials."""

import re
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from ..owners import owner
from ..tables import add_certificates

__all__ = ["owner"]

pytestmark = pytest.mark.one_backend

OWN_PAGE = {
    "Origin": "http://localhost:9000",
    "Sec-Fetch-Site": "same-origin",
    "Content-Type": "application/x-www-form-urlencoded",
}


def test_an_empty_service_leads_to_the_first_certificate(client: TestClient) -> None:
    home = client.simulate_get("/console")
    assert home.headers["Location"] == "/console/overview"
    assert _button(client.simulate_get("/console/overview")) == "/console/users/new"

    fields = {"name": "Ada", "email": "ada@example.com", "password": "a good password, number 1"}
    registered = client.simulate_post(
        "/console/users/new", body=urlencode(fields), headers=OWN_PAGE
    )
    assert registered.status_code == 303
    path = registered.headers["Location"].partition("?")[0]
    assert _button(client.simulate_get(path)) == f"{path}/new"
    assert _button(client.simulate_get("/console/overview")) == f"{path}/new"


@pytest.mark.parametrize(
    "path",
    [
        *("overview", "certificates", "expiring", "incidents", "incidents?issuer=CN%3DR10"),
        *("users", "users/new", "hostnames", "hostnames/a.example", "terminators", "webhooks"),
        *("audit", "audit?kind=user&outcome=done"),
    ],
)
def test_each_page_of_operators_is_shown(
    client: TestClient, engine: sa.Engine, owner: int, path: str
) -> None:
    add_certificates(engine, owner, 1)
    shown = client.simulate_get(f"/console/{path}")

    assert (shown.status_code, shown.headers["Cache-Control"]) == (200, "no-store")
    assert "Open mode" in shown.text


def test_a_form_of_another_site_is_refused(client: TestClient, owner: int) -> None:
    foreign = OWN_PAGE | {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    refused = client.simulate_post(f"/console/users/{owner}", body="action=delete", headers=foreign)

    assert refused.status_code == 403
    assert client.simulate_get(f"/users/{owner}").status_code == 200


def _button(page: Result) -> str:
    """Returns the target of the page's main button."""
    found = re.search(r'<a class="button primary" href="([^"]+)"', page.text)
    assert found, page.text
    return found[1]
