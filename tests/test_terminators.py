"""The certificates that Caddy, Traefik, nginx and HAProxy serve, from upload to deletion."""

import ipaddress
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Flag
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cryptography import x509

from customer_certificates.gateways.database import Database
from customer_certificates.pki.placeholders import placeholder

from .agents import EDGES, start_edge
from .client.importing.unloadable import KINDS, unloadable
from .conftest import Backend
from .factories import a_user
from .ownership import cutovers_on
from .pki.authority import NOW, a_leaf, issue
from .resources import an_upload_of
from .service import Service
from .terminators import Terminator, fingerprint, start_caddy, start_traefik

WWW = "www.example.com"
ELSEWHERE = "www.example.org"

# As docs/how-to/caddy.md has it. One name that is not ours is Caddy's own.
CADDYFILE = """
{
    admin off
    auto_https disable_redirects
    http_port 0
    on_demand_tls {
        permission http http://127.0.0.1:{plain}
    }
}
http://127.0.0.1:{plain} {
    @own query domain=www.example.org
    respond @own 200
    respond 403
}
https://:{port} {
    bind 127.0.0.1
    tls {
        get_certificate http SERVICE/terminators/caddy
        on_demand
        issuer internal
    }
    respond "served"
}
"""
# As docs/how-to/traefik.md has it, with less patience.
TRAEFIK = """
entryPoints:
  websecure:
    address: 127.0.0.1:{port}
providers:
  providersThrottleDuration: 50ms
  http:
    endpoint: SERVICE/terminators/traefik
    pollInterval: 100ms
"""


class Customer:
    """A user, who has one certificate at a time."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        user_id = client.post("/users", json=a_user()).json()["id"]
        self._certificates = f"/users/{user_id}/certificates"
        self._certificate = ""

    def upload(self, leaf: x509.Certificate, **more: Any) -> str:
        """Its fingerprint."""
        sent = an_upload_of(leaf, **more)
        answer = self._client.post(self._certificates, json=sent).raise_for_status()
        self._certificate = answer.headers["Location"]
        return fingerprint(leaf)

    def activate(self) -> None:
        self._client.patch(f"{self._certificate}/active", json={"active": True}).raise_for_status()

    def renew(self, **more: Any) -> str:
        """The fingerprint of what is there now, or will be."""
        leaf = valid_for(timedelta(days=90))
        self._client.put(self._certificate, json=an_upload_of(leaf, **more)).raise_for_status()
        return fingerprint(leaf)

    def delete(self) -> None:
        """Though it is served."""
        allowed = {"allow_lost_hostnames": "true"}
        self._client.delete(self._certificate, params=allowed).raise_for_status()


def valid_for(time: timedelta) -> x509.Certificate:
    """A self-signed certificate that expires after this time."""
    return a_leaf(WWW, WWW, end=datetime.now(UTC) + time - NOW)


def cut_over(database: Database) -> None:
    """Does what a worker does, until it has made a cutover."""

    def now() -> datetime:
        return datetime.now(UTC)

    cutovers, patience = (cutovers_on(database, now), Flag())
    for _ in range(600):
        if cutovers.run():
            return
        patience.wait(0.05)
    raise AssertionError("nothing is due")


@pytest.fixture
def customer(service: Service) -> Iterator[Customer]:
    with service.client() as client:
        yield Customer(client)


@pytest.fixture(params=["caddy", "traefik", *EDGES])
def terminator(
    request: pytest.FixtureRequest, service: Service, tmp_path: Path, folder: Path
) -> Iterator[Terminator]:
    if request.param in EDGES:
        with ExitStack() as stack:
            yield start_edge(request.param, service.url, folder, stack).terminator
        return
    start, configuration = {"caddy": (start_caddy, CADDYFILE), "traefik": (start_traefik, TRAEFIK)}[
        request.param
    ]
    with ExitStack() as stack:
        server, terminator = start(tmp_path, configuration.replace("SERVICE", service.url))
        stack.callback(server.stop)
        yield terminator


@pytest.mark.one_backend
def test_traefik_serves_only_the_owners_certificate(
    service: Service, customer: Customer, tmp_path: Path
) -> None:
    """A matching common name or wildcard makes no difference."""
    shop = "shop.example.com"
    with ExitStack() as stack:
        server, traefik = start_traefik(tmp_path, TRAEFIK.replace("SERVICE", service.url))
        stack.callback(server.stop)
        attacker, owner = (Customer(stack.enter_context(service.client())) for _ in range(2))
        end = datetime.now(UTC) + timedelta(days=9) - NOW
        victims = customer.upload(a_leaf(WWW, WWW, end=end), active=True, grant_hostnames=True)
        attackers = attacker.upload(issue(WWW, WWW, hostnames=[ELSEWHERE], end=end), active=True)
        expired = a_leaf(shop, shop, end=timedelta(days=-5))
        customer.upload(expired, active=True, grant_hostnames=True)
        wild = a_leaf("*.example.com", "*.example.com", end=end)
        wildcard = owner.upload(wild, active=True, grant_hostnames=True)

        traefik.wait_for("api.example.com", wildcard)
        traefik.wait_for(WWW, victims)
        assert traefik.served(ELSEWHERE) != attackers
        made, _ = placeholder(shop)
        traefik.wait_for(shop, fingerprint(x509.load_pem_x509_certificate(made.encode())))


# client/sync/test_served.py tests each server with the files of an agent.
once_an_agent = pytest.mark.parametrize("terminator", ["caddy", "traefik", "nginx"], indirect=True)


@pytest.mark.one_backend
def test_the_active_certificate_is_served(
    terminator: Terminator, customer: Customer, database: Database
) -> None:
    # Names that are not ours are served by it as ever.
    terminator.wait_for_any(ELSEWHERE)

    first = customer.upload(valid_for(timedelta(days=30)))
    assert terminator.served(WWW) != first
    customer.activate()
    terminator.wait_for(WWW, first)
    terminator.wait_for_openssl(WWW, first)

    with terminator.under_constant_handshakes(WWW) as seen:
        versions = [first]
        for _ in range(2):
            versions.append(customer.renew())
            terminator.wait_for(WWW, versions[-1])
        soon = datetime.now(UTC) + timedelta(seconds=1)
        versions.append(customer.renew(activate_at=soon.isoformat()))
        cut_over(database)
        terminator.wait_for(WWW, versions[-1])
    assert set(seen) <= {*versions}
    assert len(seen) > len(versions)
    terminator.wait_for_openssl(WWW, versions[-1])

    customer.delete()
    terminator.wait_for_end(WWW, *versions)
    assert terminator.served(ELSEWHERE)


@once_an_agent
@pytest.mark.one_backend
def test_an_unloadable_certificate_does_not_affect_others(
    terminator: Terminator, customer: Customer, service: Service, tmp_path: Path
) -> None:
    """Another customer uploads it, and has it active."""
    first = customer.upload(valid_for(timedelta(days=30)), active=True)
    terminator.wait_for(WWW, first)
    stored = []
    with terminator.under_constant_handshakes(WWW) as seen, service.client() as client:
        user = client.post("/users", json=a_user()).json()["id"]
        for number, kind in enumerate(KINDS):
            bad = unloadable(kind, number, f"{kind}.example.net", tmp_path)
            upload = {
                "body": bad["chain_pem"],
                "private_key": b64encode(bad["private_key_pem"].encode()).decode(),
                "active": True,
            }
            answer = client.post(f"/users/{user}/certificates", json=upload).raise_for_status()
            assert (answer.json()["active"], answer.json()["servable"]) == (True, False), kind
            stored.append(bad)
        renewed = customer.renew()
        terminator.wait_for(WWW, renewed)
    assert set(seen) <= {first, renewed}
    for bad in stored:
        assert terminator.served(bad["hostnames"][0]) != bad["fingerprint_sha256"]


@pytest.mark.one_backend
def test_caddy_serves_an_address_to_clients_that_send_no_name(
    customer: Customer, service: Service, tmp_path: Path
) -> None:
    """RFC 6066, 3: an IP address is no server name."""
    server, terminator = start_caddy(tmp_path, CADDYFILE.replace("SERVICE", service.url))
    try:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        end = datetime.now(UTC) + timedelta(days=30) - NOW
        leaf = a_leaf(WWW, WWW, hostnames=[address], end=end)
        terminator.wait_for(None, customer.upload(leaf, active=True))
    finally:
        server.stop()


@once_an_agent
@pytest.mark.one_backend
def test_expired_certificates_are_no_longer_served(
    terminator: Terminator, customer: Customer
) -> None:
    longer = customer.upload(valid_for(timedelta(days=30)), active=True)
    terminator.wait_for(WWW, longer)
    customer.delete()
    brief = customer.upload(valid_for(timedelta(seconds=6)), active=True)
    terminator.wait_for(WWW, brief)
    terminator.wait_for_end(WWW, brief)
    assert terminator.served(WWW) not in (brief, longer)


@pytest.mark.one_backend
def test_requests_that_wait_for_a_change_do_not_delay_the_shutdown(
    backend: Backend, engine: sa.Engine, tmp_path: Path
) -> None:
    service = Service(backend.settings, tmp_path / "service.log")
    with service.client() as client, ThreadPoolExecutor() as pool:
        cursor = client.get("/terminators/feed").json()["cursor"]
        waiting = pool.submit(
            client.get, "/terminators/feed", params={"since": cursor, "wait": 60}, timeout=60
        )
        while "customer_certificates_feed_waiting 1.0" not in client.get("/metrics").text:
            assert not waiting.done()
        assert service.stop() == 0
        answer = waiting.result()
    assert (answer.status_code, answer.json()["changes"]) == (200, [])
    assert "refused to gracefully stop" not in service.log.read_text()
