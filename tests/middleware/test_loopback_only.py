from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import create_app

from ..conftest import Backend
from ..factories import a_user
from ..resources import refusal
from ..tables import NOTHING, dump

pytestmark = pytest.mark.one_backend

PERMITTED: list[tuple[str, dict[str, str]]] = [
    ("127.0.0.1", {"Host": "localhost"}),
    ("127.0.0.1", {"Host": "localhost:9000"}),
    ("127.0.0.1", {"Host": "LocalHost:9000"}),
    ("127.0.0.1", {"Host": "api.localhost:9000"}),
    ("127.0.0.1", {"Host": "127.0.0.1:9000"}),
    ("127.0.0.1", {"Host": "[::1]:9000"}),
    ("127.0.0.1", {"Host": "10.1.2.3:9000"}),
    ("127.8.9.10", {"Host": "localhost"}),
    ("::1", {"Host": "[::1]"}),
    ("::ffff:127.0.0.1", {"Host": "localhost"}),
    ("10.1.2.3", {"Host": "10.1.2.1:9000"}),
    ("10.1.2.255", {"Host": "localhost"}),
    ("::ffff:10.1.2.3", {"Host": "localhost"}),
    ("2001:db8::7", {"Host": "[2001:db8::1]:9000"}),
    ("127.0.0.1", {"Host": "localhost:9000", "Origin": "http://localhost:9000"}),
    ("127.0.0.1", {"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}),
    ("127.0.0.1", {"Host": "localhost", "Sec-Fetch-Site": "same-origin"}),
    ("127.0.0.1", {"Host": "localhost", "Sec-Fetch-Site": "none"}),
    ("127.0.0.1", {"Host": "localhost", "Referer": "http://localhost/docs"}),
]
FORBIDDEN: list[tuple[str, dict[str, str]]] = [
    ("10.1.3.3", {"Host": "localhost"}),
    ("192.168.0.2", {"Host": "192.168.0.1"}),
    ("8.8.8.8", {"Host": "localhost"}),
    ("128.0.0.1", {"Host": "localhost"}),
    ("0.0.0.0", {"Host": "localhost"}),
    ("::", {"Host": "localhost"}),
    ("::2", {"Host": "localhost"}),
    ("::ffff:8.8.8.8", {"Host": "localhost"}),
    ("2001:db9::7", {"Host": "localhost"}),
    ("localhost", {"Host": "localhost"}),
    ("unknown", {"Host": "localhost"}),
    ("127.0.0.1", {"Host": ""}),
    ("127.0.0.1", {"Host": "example.com"}),
    ("127.0.0.1", {"Host": "example.com:9000"}),
    ("127.0.0.1", {"Host": "localhost.example.com"}),
    ("127.0.0.1", {"Host": "127.0.0.1.nip.io"}),
    ("127.0.0.1", {"Host": "notlocalhost"}),
    ("127.0.0.1", {"Host": "localhost@example.com"}),
    ("127.0.0.1", {"Host": "127.1"}),
    ("127.0.0.1", {"Host": "2130706433"}),
    ("127.0.0.1", {"Host": "0x7f.0.0.1"}),
    ("127.0.0.1", {"Host": "[::1"}),
    ("127.0.0.1", {"Host": "localhost, example.com"}),
    ("127.0.0.1", {"Host": "é"}),
    ("127.0.0.1", {"Host": "localhost:9000", "Origin": "http://example.com"}),
    ("127.0.0.1", {"Host": "localhost:9000", "Origin": "http://localhost"}),
    ("127.0.0.1", {"Host": "localhost:9000", "Origin": "http://localhost:3000"}),
    ("127.0.0.1", {"Host": "localhost:9000", "Origin": "http://127.0.0.1:9000"}),
    ("127.0.0.1", {"Host": "localhost", "Origin": "null"}),
    ("127.0.0.1", {"Host": "localhost", "Origin": ""}),
    ("127.0.0.1", {"Host": "localhost", "Origin": "http://[::1"}),
    ("127.0.0.1", {"Host": "localhost", "Sec-Fetch-Site": "cross-site"}),
    ("127.0.0.1", {"Host": "localhost", "Sec-Fetch-Site": "same-site"}),
    ("127.0.0.1", {"Host": "localhost", "Sec-Fetch-Site": ""}),
    ("127.0.0.1", {"Host": "localhost", "Forwarded": "for=127.0.0.1"}),
    ("127.0.0.1", {"Host": "localhost", "X-Forwarded-For": "127.0.0.1"}),
    ("127.0.0.1", {"Host": "localhost", "X-Forwarded-Host": "localhost"}),
    ("127.0.0.1", {"Host": "localhost", "X-Forwarded-Proto": "https"}),
    ("127.0.0.1", {"Host": "localhost", "X-Real-IP": "127.0.0.1"}),
    ("127.0.0.1", {"Host": "localhost", "Via": "1.1 proxy"}),
    ("10.1.2.3", {"Host": "localhost", "X-Forwarded-For": "127.0.0.1"}),
    ("10.1.2.3", {"Host": "example.com"}),
    ("8.8.8.8", {"Host": "localhost", "X-Forwarded-For": "127.0.0.1"}),
]


@pytest.fixture(scope="module")
def door(backend: Backend) -> Iterator[TestClient]:
    """The application, configured to trust two networks."""
    app = create_app(backend.config(CC_ALLOWED_CLIENTS="10.1.2.0/24, 2001:db8::/32"))
    yield TestClient(app)
    app.close()


@pytest.mark.parametrize(("peer", "headers"), PERMITTED)
def test_permitted(door: TestClient, peer: str, headers: dict[str, str]) -> None:
    answer = door.simulate_get("/livez", remote_addr=peer, headers=headers)

    assert (answer.status_code, answer.json) == (200, {"api": 1})
    assert answer.headers["CC-Mode"] == "open"


@pytest.mark.parametrize(("peer", "headers"), FORBIDDEN)
def test_forbidden(door: TestClient, peer: str, headers: dict[str, str]) -> None:
    answer = door.simulate_get("/livez", remote_addr=peer, headers=headers)

    assert refusal(answer) == (403, "forbidden", {})


@pytest.mark.parametrize("path", ["/users", "/metrics", "/docs", "/healthcheck", "/nothing"])
def test_no_route_is_exempt(door: TestClient, path: str) -> None:
    answer = door.simulate_get(path, remote_addr="8.8.8.8", headers={"Host": "localhost"})

    assert refusal(answer) == (403, "forbidden", {})


def test_only_the_loopback_is_trusted_by_default(client: TestClient) -> None:
    for peer in ("10.1.2.3", "2001:db8::7"):
        answer = client.simulate_get("/livez", remote_addr=peer)
        assert refusal(answer) == (403, "forbidden", {})
    assert client.simulate_get("/livez", remote_addr="127.0.0.1").status_code == 200


def test_a_forbidden_request_changes_nothing(client: TestClient, engine: sa.Engine) -> None:
    answer = client.simulate_post("/users", json=a_user(), headers={"Origin": "http://example.com"})

    assert refusal(answer) == (403, "forbidden", {})
    assert dump(engine) == NOTHING
