"""Which files are read from customers' web servers."""

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import sleep

import pytest

from customer_certificates.gateways.http_files import MOST_BYTES, FileMissing, HttpFiles
from customer_certificates.gateways.outbound_http import (
    Outbound,
    TargetForbidden,
    TargetUnreachable,
)

from ..factories import a_pair
from .outbound_http.receiver import Received, Receiver

ROOTS = a_pair("nobody.example").body.encode()
LOOPBACK = ipaddress.ip_address("127.0.0.1")
PATH = "/.well-known/customer-certificates/abc"
NAME = "www.a.example"

Serve = Callable[[Callable[[Received], list[bytes]]], Receiver]


def page(body: bytes, status: str = "200 OK", *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more, "\r\n"]
    return "\r\n".join(head).encode() + body


def moved(location: str) -> bytes:
    return page(b"", "301 Moved Permanently", f"Location: {location}")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a web server; requests have no body."""
    with ExitStack() as stack:

        def start(answer: Callable[[Received], list[bytes]]) -> Receiver:
            return stack.enter_context(Receiver(answer))

        yield start


def files(server: Receiver, *, allowed: str = "127.0.0.0/8", seconds: float = 5.0) -> HttpFiles:
    networks = [ipaddress.ip_network(allowed)]
    outbound = Outbound(
        https_only=False, allowed=networks, own=[], roots_pem=ROOTS, seconds=seconds
    )
    return HttpFiles(outbound, server.port)


def test_a_file_is_read_at_the_given_address(serve: Serve) -> None:
    server = serve(lambda _: [page(b"abc.def\n")])

    assert files(server).read(NAME, PATH, [LOOPBACK]) == b"abc.def\n"
    (request,) = server.received
    assert request.line == f"GET {PATH} HTTP/1.1"
    assert request.header("host") == [f"{NAME}:{server.port}"]


def test_the_host_may_be_an_address(serve: Serve) -> None:
    server = serve(lambda _: [page(b"abc")])

    assert files(server).read("127.0.0.1", PATH, [LOOPBACK]) == b"abc"


def test_a_body_in_chunks_is_read(serve: Serve) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    server = serve(lambda _: [chunked])

    assert files(server).read(NAME, PATH, [LOOPBACK]) == b"abc"


def test_a_redirect_to_the_same_file_is_followed(serve: Serve) -> None:
    server = serve(lambda _: [page(b"abc") if len(server.received) == 2 else moved(PATH)])

    assert files(server).read(NAME, PATH, [LOOPBACK]) == b"abc"


@pytest.mark.parametrize(
    "location",
    [
        f"http://other.example{PATH}",
        f"http://127.0.0.1{PATH}",
        f"http://{NAME}:1{PATH}",
        f"//other.example{PATH}",
        f"http://{NAME}@other.example{PATH}",
        "/uploads/of/somebody",
        f"ftp://{NAME}{PATH}",
        "http://[",
    ],
)
def test_a_redirect_to_anything_else_is_not_followed(serve: Serve, location: str) -> None:
    server = serve(lambda _: [moved(location)])

    with pytest.raises(FileMissing, match="redirects to"):
        files(server).read(NAME, PATH, [LOOPBACK])
    assert len(server.received) == 1


def test_endless_redirects_are_not_followed(serve: Serve) -> None:
    server = serve(lambda _: [moved(PATH)])

    with pytest.raises(FileMissing, match="more than 3 times"):
        files(server).read(NAME, PATH, [LOOPBACK])
    assert len(server.received) == 4


def test_a_large_file_is_rejected(serve: Serve) -> None:
    server = serve(lambda _: [page(b"a" * (MOST_BYTES + 1))])

    with pytest.raises(FileMissing, match="more than 4096 bytes"):
        files(server).read(NAME, PATH, [LOOPBACK])


def test_another_status_is_rejected(serve: Serve) -> None:
    server = serve(lambda _: [page(b"abc", "404 Not Found")])

    with pytest.raises(FileMissing, match="404"):
        files(server).read(NAME, PATH, [LOOPBACK])


def test_a_truncated_body_is_rejected(serve: Serve) -> None:
    server = serve(
        lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nab"]
    )

    # The server keeps the connection open, and says no more.
    with pytest.raises(TargetUnreachable):
        files(server, seconds=0.3).read(NAME, PATH, [LOOPBACK])


@pytest.mark.parametrize("host", [NAME, "127.0.0.1"])
def test_a_private_address_is_blocked(serve: Serve, host: str) -> None:
    server = serve(lambda _: [page(b"abc")])

    with pytest.raises(TargetForbidden, match="loopback"):
        files(server, allowed="192.0.2.0/24").read(host, PATH, [LOOPBACK])
    assert server.connections == 0


def test_one_private_address_blocks_the_host(serve: Serve) -> None:
    server = serve(lambda _: [page(b"abc")])
    private = ipaddress.ip_address("10.0.0.1")

    with pytest.raises(TargetForbidden, match="private"):
        files(server).read(NAME, PATH, [LOOPBACK, private])
    assert server.connections == 0


def test_a_server_that_does_not_respond_times_out(serve: Serve) -> None:
    server = serve(lambda _: [])

    with pytest.raises(TargetUnreachable):
        files(server, seconds=0.3).read(NAME, PATH, [LOOPBACK])


def test_redirects_share_one_deadline(serve: Serve) -> None:
    """A slow server that redirects would otherwise keep a thread four times as long."""

    def slow(_: Received) -> list[bytes]:
        sleep(0.6)
        return [moved(PATH)]

    with pytest.raises(TargetUnreachable):
        files(serve(slow), seconds=1.0).read(NAME, PATH, [LOOPBACK])
