"""Challenges over HTTP. tests/services/challenges/test_challenges.py tests the checks."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import Application, create_app

from ..conftest import Backend
from ..dns_server import DnsServer, unused_label
from . import refusal

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def _asking(backend: Backend, dns_server: DnsServer) -> Iterator[Application]:
    app = create_app(
        backend.config(
            CC_DNS_RESOLVERS=dns_server.address,
            CC_CHALLENGE_DOMAIN="challenges.test",
            CC_RESERVED_HOSTNAMES="platform.example",
            CC_PUBLIC_URL="https://certificates.example:8443/api",
        )
    )
    yield app
    app.close()


@pytest.fixture
def asking(_asking: Application, engine: sa.Engine) -> TestClient:
    """The application that asks the tests' DNS server."""
    return TestClient(_asking, headers={"Host": "localhost:9000"})


@pytest.fixture
def name() -> str:
    return f"{unused_label()}.example"


def path_of(user_id: int, hostname: str) -> str:
    return f"/users/{user_id}/hostnames/{hostname}/challenge"


def set_text(dns_server: DnsServer, view: dict[str, Any]) -> None:
    dns_server.set_text(view["txt"]["name"], view["txt"]["value"])


def test_a_challenges_life(
    asking: TestClient, owner: int, name: str, dns_server: DnsServer
) -> None:
    path = path_of(owner, name)
    made = asking.simulate_post(path)
    assert made.status_code == 201
    assert made.json["state"] == "pending"
    assert (
        made.json["txt"]["name"] == made.json["cname"]["name"] == (f"_customer-certificates.{name}")
    )
    assert made.json["cname"]["target"].endswith(".challenges.test")
    assert made.json["http"]["url"].startswith(f"http://{name}/.well-known/customer-certificates/")
    again = asking.simulate_post(path)
    assert (again.status_code, again.json) == (200, made.json)

    seen = asking.simulate_post(f"{path}/verify").json
    assert [one["method"] for one in seen["checks"]] == ["txt", "cname", "http"]
    set_text(dns_server, made.json)
    verified = asking.simulate_post(f"{path}/verify").json

    assert (verified["state"], verified["expires_at"]) == ("verified", None)
    assert asking.simulate_get(path).json == verified
    (hostname,) = asking.simulate_get(f"/users/{owner}/hostnames").json
    assert (hostname["hostname"], hostname["proof"]) == (name, "challenge")
    assert hostname["checked_at"]
    assert asking.simulate_delete(path).status_code == 204
    assert asking.simulate_get(path).status_code == 404
    audit = asking.simulate_get(f"/users/{owner}/audit").json
    assert [entry["action"] for entry in audit if "challenge." in entry["action"]] == [
        "challenge.create",
        "challenge.create",
        "challenge.verify",
        "challenge.delete",
    ]


@pytest.mark.parametrize("written", ["*.{}", "%2A.{}", "*.{}.", "*.{}/"])
def test_a_wildcard_in_a_path(asking: TestClient, owner: int, name: str, written: str) -> None:
    made = asking.simulate_post(path_of(owner, written.format(name)).replace("//", "/"))

    assert (made.status_code, made.json["hostname"]) == (201, f"*.{name}")
    assert made.json["http"] is None


def test_an_international_name_in_a_path(
    asking: TestClient, owner: int, name: str, dns_server: DnsServer
) -> None:
    made = asking.simulate_post(path_of(owner, f"B%C3%BCcher.{name}"))
    assert made.json["hostname"] == f"xn--bcher-kva.{name}"
    set_text(dns_server, made.json)

    verified = asking.simulate_post(f"{path_of(owner, f'xn--bcher-kva.{name}')}/verify")

    assert verified.json["state"] == "verified"


@pytest.mark.parametrize(
    "hostname",
    [
        *("a.platform.example", "localhost", "*.github.io", "*.co.uk", "a.local"),
        # The service's own names: of CC_PUBLIC_URL and CC_CHALLENGE_DOMAIN.
        *("certificates.example", "a.certificates.example", "a.challenges.test"),
    ],
)
def test_what_no_challenge_can_prove(asking: TestClient, owner: int, hostname: str) -> None:
    refused = asking.simulate_post(path_of(owner, hostname))

    assert refusal(refused) == (409, "conflict", {"hostname": "hostname_reserved"})


def test_nothing_is_there_before_it_is_asked_for(asking: TestClient, owner: int, name: str) -> None:
    path = path_of(owner, name)
    for response in (
        asking.simulate_get(path),
        asking.simulate_delete(path),
        asking.simulate_post(f"{path}/verify"),
        asking.simulate_post(path_of(2**62, name)),
        asking.simulate_post(path_of(owner, "not-a-hostname!")),
    ):
        assert response.status_code == 404


def test_too_many_checks_are_refused_for_a_while(
    asking: TestClient, owner: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customer_certificates.services.challenges.limits.MOST_OF_DOMAIN", 0)
    asking.simulate_post(path_of(owner, name))

    refused = asking.simulate_post(f"{path_of(owner, name)}/verify")

    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 601
