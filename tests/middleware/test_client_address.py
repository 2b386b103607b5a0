"""The client address of a request, with and without proxies."""

import ipaddress

import falcon
import pytest
from falcon import Request, Response, testing

from customer_certificates.errors import Forbidden
from customer_certificates.middleware.client_address import ClientAddress

PROXIES = [ipaddress.ip_network(text) for text in ("10.0.0.0/24", "2001:db8::/64")]
FOR, PROTO, HOST = "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"


def seen(remote: str, headers: dict[str, str], *, scheme: str = "http") -> Request:
    """Returns the request as later middleware sees it; by default, the proxy uses TLS."""
    made = testing.create_req(
        headers={"Host": "inner", PROTO: "https", **headers}, remote_addr=remote, scheme=scheme
    )
    ClientAddress(PROXIES).process_request(made, Response())
    return made


@pytest.mark.parametrize(
    ("remote", "forwarded", "peer"),
    [
        ("10.0.0.7", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.7", "127.0.0.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.7", "127.0.0.1,203.0.113.9, 10.0.0.8", "203.0.113.9"),
        ("10.0.0.7", "10.0.0.8, 10.0.0.9", "10.0.0.8"),
        ("10.0.0.7", "203.0.113.9, nonsense", "10.0.0.7"),
        ("10.0.0.7", "nonsense, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.7", "", "10.0.0.7"),
        ("10.0.0.7", "::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.7", "203.0.113.9", "203.0.113.9"),
        ("2001:db8::7", "2001:DB9::0001", "2001:db9::1"),
        ("127.0.0.1", "203.0.113.9", "127.0.0.1"),
    ],
)
def test_the_peer_is_the_last_hop_before_the_trusted_proxies(
    remote: str, forwarded: str, peer: str
) -> None:
    assert seen(remote, {FOR: forwarded}).context.peer == peer


def test_over_tls_a_strangers_headers_do_not_count() -> None:
    request = seen("203.0.113.9", {FOR: "127.0.0.1", HOST: "evil"}, scheme="https")

    assert (request.context.peer, request.host) == ("203.0.113.9", "inner")


def test_a_proxy_may_speak_tls_itself() -> None:
    assert seen("10.0.0.7", {FOR: "203.0.113.9"}, scheme="https").context.peer == "203.0.113.9"


def test_the_proxys_host_and_scheme_are_taken_for_the_services() -> None:
    request = seen("10.0.0.7", {PROTO: "https", HOST: "evil, certificates.example.com"})

    assert request.prefix == "https://certificates.example.com"


@pytest.mark.parametrize(
    ("remote", "headers"),
    [
        ("10.0.0.7", {PROTO: "http"}),
        ("10.0.0.7", {PROTO: "https, http"}),
        ("10.0.0.7", {PROTO: "http, https"}),
        ("10.0.0.7", {PROTO: ""}),
        ("10.0.0.7", {PROTO: "https,"}),
        ("10.0.1.7", {}),
        ("10.0.1.7", {PROTO: "https", FOR: "10.0.0.7"}),
    ],
)
def test_plain_http_is_refused(remote: str, headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden, match="Use HTTPS"):
        seen(remote, headers)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_does_not_report_https_is_rejected(scheme: str) -> None:
    for path, method in (
        ("/users", "GET"),
        ("/metrics", "GET"),
        ("/healthcheck", "POST"),
        ("//healthcheck", "GET"),
        ("/healthcheck/x", "GET"),
    ):
        made = testing.create_req(
            path=path, method=method, headers={FOR: "203.0.113.9"}, scheme=scheme
        )
        made.env["REMOTE_ADDR"] = "10.0.0.7"
        with pytest.raises(Forbidden, match="set X-Forwarded-Proto"):
            ClientAddress(PROXIES).process_request(made, Response())


@pytest.mark.parametrize("path", ["/healthcheck", "/livez"])
def test_a_load_balancer_may_send_health_checks(path: str) -> None:
    for method in ("GET", "HEAD"):
        made = testing.create_req(path=path, method=method, remote_addr="10.0.0.7")
        ClientAddress(PROXIES).process_request(made, Response())
        assert (made.context.peer, made.scheme) == ("10.0.0.7", "http")


def test_without_named_proxies_nothing_changes() -> None:
    request = testing.create_req(headers={FOR: "127.0.0.1", PROTO: "http"}, remote_addr="10.0.0.7")
    ClientAddress([]).process_request(request, falcon.Response())

    assert (request.context.peer, request.scheme) == ("10.0.0.7", "http")
