"""The address for monitoring: its routes and its clients."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from customer_certificates.config import Config, ConfigError

from ..conftest import Backend
from ..servers import free_port
from ..service import Service, run

OPEN = ["/metrics", "/docs", "/docs/page.js", "/openapi.json", "/healthcheck", "/livez", "/readyz"]


@pytest.fixture
def watched(backend: Backend, engine: sa.Engine, tmp_path: Path) -> Iterator[tuple[Service, str]]:
    """A service with credentials, and the URL of its admin address."""
    address = f"127.0.0.1:{free_port()}"
    settings = {**backend.settings, **backend.named(), "CC_ENV": "prd", "CC_ADMIN_ADDRESS": address}
    service = Service(settings, tmp_path / "service.log")
    yield service, f"http://{address}"
    service.kill()


@pytest.mark.one_backend
def test_the_admin_server_has_only_routes_for_monitoring(watched: tuple[Service, str]) -> None:
    service, url = watched
    with (
        service.client() as client,
        httpx.Client(base_url=url, trust_env=False, verify=False) as admin,
    ):
        for path in OPEN:
            assert admin.get(path).status_code == 200
        assert client.get("/metrics").status_code == 401
        for path in ("/users", "/users/1", "/tokens", "/audit", "/users/1/certificates"):
            answer = admin.get(path)
            assert answer.status_code == 404
            assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
            assert admin.post(path, json={}).status_code == 404
        # Any worker answers with the counts of all, and with the 401s of the main address.
        labels = '{method="GET",route="/metrics",status="401"}'
        counted = f"customer_certificates_http_requests_total{labels} 1.0"
        for _ in range(8):
            assert counted in admin.get("/metrics").text
        # A client that connects and sends nothing blocks no other client.
        silent = [socket.create_connection(("127.0.0.1", httpx.URL(url).port)) for _ in range(8)]
        assert admin.get("/livez").json() == {"api": 1}
        for connection in silent:
            connection.close()

        worker = service.workers()[0]
        worker.kill()
        worker.wait()
        assert admin.get("/healthcheck").json()["database"] == 1
    assert service.stop() == 0


@pytest.mark.one_backend
def test_an_address_in_use_stops_the_start_with_one_line(
    backend: Backend, engine: sa.Engine
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = f"127.0.0.1:{stranger.getsockname()[1]}"
        port = str(free_port())
        ended = run("serve", {**backend.settings, "CC_PORT": port, "CC_ADMIN_ADDRESS": taken})

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "CC_ADMIN_ADDRESS" in ended.stderr


@pytest.mark.parametrize("address", ["9001", "localhost", "example.com:9001", "127.0.0.1:0"])
def test_an_invalid_admin_address_is_rejected(address: str) -> None:
    with pytest.raises(ConfigError, match="CC_ADMIN_ADDRESS"):
        Config.from_environ({"CC_ADMIN_ADDRESS": address})


def test_an_ipv6_address_needs_brackets() -> None:
    config = Config.from_environ({"CC_ADMIN_ADDRESS": "[::1]:9001"})

    assert config.admin_address == ("::1", 9001)
