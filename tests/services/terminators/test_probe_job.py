"""The probe compares the certificates that servers serve with the expected ones."""

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.gateways.database import Database
from customer_certificates.gateways.tls_probe import served
from customer_certificates.models import Terminator
from customer_certificates.services.audit.log import Audit
from customer_certificates.services.certificates.candidates import Candidates
from customer_certificates.services.events.log import Events
from customer_certificates.services.terminators.probe_job import ProbeJob
from customer_certificates.services.terminators.reports import TerminatorReports
from customer_certificates.setting_parsers import ProbeAddress

from ...factories import Pair, a_pair, an_upload
from ...servers import free_port

pytestmark = pytest.mark.one_backend


def now() -> datetime:
    return datetime.now(UTC)


class Server:
    """Something that serves TLS with one certificate, whatever the name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def use(self, pair: Pair) -> None:
        certificate, key = self._folder / "certificate.pem", self._folder / "key.pem"
        certificate.write_text(pair.body)
        key.write_bytes(pair.key_pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                with self._context.wrap_socket(connection, server_side=True):
                    """The handshake is all there is."""
            except ssl.SSLError:
                continue
            except OSError:
                return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()


def probing(database: Database, *addresses: ProbeAddress) -> ProbeJob:
    serving = TerminatorReports(database, Audit(database, now), Events(database, now), now)
    return ProbeJob(database, Candidates(database), serving, served, addresses, now)


def test_a_certificate_is_verified_while_it_is_served(
    client: TestClient, owner: int, database: Database, server: Server
) -> None:
    path = client.simulate_post(
        f"/users/{owner}/certificates", json=an_upload(active=True)
    ).headers["Location"]
    wildcard = an_upload("*.example.org", active=True)
    client.simulate_post(f"/users/{owner}/certificates", json=wildcard)
    looks = probing(database, ProbeAddress("edge-1", "127.0.0.1", server.port))

    def seen() -> tuple[list[tuple[str, int, bool]], list[str]]:
        assert looks.run() == 2
        serving: list[dict[str, Any]] = client.simulate_get(path).json["serving"]
        (terminator,) = client.simulate_get("/terminators").json
        shown = [(one["terminator"], one["version"], one["verified"]) for one in serving]
        return shown, [error.partition(":")[0] for error in terminator["errors"]]

    server.use(a_pair("other.example.com"))
    assert seen() == ([], ["probe.example.org", "www.example.com"])
    server.use(a_pair())
    assert seen() == ([("edge-1", 1, True)], ["probe.example.org"])
    server.use(a_pair("other.example.com"))
    assert seen()[0] == [("edge-1", 1, False)]


def test_where_nobody_answers_that_is_said(
    client: TestClient, owner: int, database: Database
) -> None:
    client.simulate_post(f"/users/{owner}/certificates", json=an_upload(active=True))
    probing(database, ProbeAddress("edge-2", "127.0.0.1", free_port())).run()

    (terminator,) = client.simulate_get("/terminators").json
    assert terminator["name"] == "edge-2"
    assert terminator["errors"] == ["www.example.com: Connection refused"]


def test_what_an_agent_reports_is_verified_under_its_name(
    client: TestClient, owner: int, engine: sa.Engine, database: Database, server: Server
) -> None:
    """A probe takes no name from an agent, and does not replace what the agent says of itself."""
    path = client.simulate_post(
        f"/users/{owner}/certificates", json=an_upload(active=True)
    ).headers["Location"]
    report = {"terminator": "edge-1", "instance": "0a" * 16, "format": "nginx", "errors": ["full"]}
    server.use(a_pair())

    for _ in range(2):
        assert client.simulate_post("/terminators/reports", json=report).status_code == 204
        # The agent may have stopped.
        with engine.begin() as connection:
            connection.execute(sa.update(Terminator).values(seen_at=now() - timedelta(hours=1)))
        probing(database, ProbeAddress("edge-1", "127.0.0.1", server.port)).run()
    (terminator,) = client.simulate_get("/terminators").json
    assert (terminator["format"], terminator["errors"]) == ("nginx", ["full"])
    (serving,) = client.simulate_get(path).json["serving"]
    assert (serving["terminator"], serving["verified"]) == ("edge-1", True)
