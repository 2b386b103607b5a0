"""Unusual and invalid requests to the service, over raw sockets."""

import json
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa

from ..factories import a_user
from ..service import Service
from ..tables import NOTHING, dump

pytestmark = pytest.mark.one_backend

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"
JSON = b"Content-Type: application/json\r\n"
POST = b"POST /users HTTP/1.1\r\n" + HOST + CLOSE + JSON
USER = json.dumps(a_user()).encode()
LARGE = b'{"name": "' + b"x" * (256 * 1024) + b'"}'
SECONDS = 20


def chunked(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def get(path: bytes, *headers: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + b"".join(headers) + b"\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    return POST + b"".join(headers) + b"\r\n" + body


def length(number: int | str) -> bytes:
    return f"Content-Length: {number}\r\n".encode()


CHUNKED = b"Transfer-Encoding: chunked\r\n"

# The request, and the status of the response.
REFUSED: dict[str, tuple[bytes, set[int]]] = {
    # Bodies
    "no length and no body": (post(b""), {400}),
    "no length and a body": (post(USER), {400}),
    "length of nothing": (post(b"", length(0)), {400}),
    "two lengths": (post(USER, length(len(USER)), length(5)), {400}),
    "negative length": (post(USER, length(-5)), {400}),
    "signed length": (post(USER, length(f"+{len(USER)}")), {400}),
    "length in hex": (post(USER, length("0x10")), {400}),
    "length in words": (post(USER, length("many")), {400}),
    "length with a fraction": (post(USER, length("1.5")), {400}),
    "length beyond 64 bits": (post(USER, length("9" * 50)), {400}),
    "length of a terabyte, not sent": (post(b"", length(10**12)), {413}),
    "a large body": (post(LARGE, length(len(LARGE))), {413}),
    "a large chunked body": (post(chunked(LARGE), CHUNKED), {413}),
    "a large body in one chunk": (post(chunked(LARGE, len(LARGE)), CHUNKED), {413}),
    "chunks without a size": (post(b"zz\r\nabc\r\n", CHUNKED), {400}),
    "chunks of another size": (post(b"5\r\nabcdefgh\r\n0\r\n\r\n", CHUNKED), {400}),
    "a chunk beyond 64 bits": (post(b"f" * 20 + b"\r\nabc\r\n", CHUNKED), {400}),
    "another encoding": (post(USER, b"Transfer-Encoding: gzip\r\n"), {400}),
    "chunks of nothing": (post(chunked(b""), CHUNKED), {400}),
    "chunks that are not declared": (
        b"POST /users HTTP/1.1\r\n" + HOST + CLOSE + CHUNKED + b"\r\n" + chunked(USER),
        {415},
    ),
    "a compressed body": (
        post(b"\x1f\x8b\x08\x00", b"Content-Encoding: gzip\r\n", length(4)),
        {400},
    ),
    # Headers
    "a content type beyond ASCII": (
        b"POST /users HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Type: \xff\xe9\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        {415},
    ),
    "a host beyond ASCII": (b"GET /users HTTP/1.1\r\nHost: \xff\r\n" + CLOSE + b"\r\n", {403}),
    "an origin beyond ASCII": (get(b"/users", b"Origin: \xff\r\n"), {403}),
    "an If-Match beyond ASCII": (
        b"DELETE /users/1 HTTP/1.1\r\n" + HOST + CLOSE + b"If-Match: \xff\r\n\r\n",
        {404, 412},
    ),
    "NUL in a header": (get(b"/users", b"X-A: a\x00b\r\n"), {400}),
    "a name beyond ASCII": (get(b"/users", b"X-\xc3\xa9: a\r\n"), {400}),
    "a space in a name": (get(b"/users", b"X A: a\r\n"), {400}),
    "no name": (get(b"/users", b": a\r\n"), {400}),
    "a header over two lines": (get(b"/users", b"X-A: a\r\n b\r\n"), {400}),
    "another host too": (get(b"/users", b"Host: example.com\r\n"), {400, 403}),
    "no host": (b"GET /users HTTP/1.1\r\n" + CLOSE + b"\r\n", {400, 403}),
    "no host in HTTP/1.0": (b"GET /users HTTP/1.0\r\n\r\n", {400, 403}),
    "a header of megabytes": (get(b"/users", b"X-A: " + b"a" * 2**21 + b"\r\n"), {400, 431}),
    "a thousand headers": (
        get(b"/users", *(b"X-%d: a\r\n" % number for number in range(1000))),
        {400, 431},
    ),
    "a thousand media types": (get(b"/users", b"Accept: " + b"a/b," * 1000 + b"\r\n"), {406}),
    "headers of 40 KiB": (
        get(b"/users", *(b"X-%d: %b\r\n" % (n, b"a" * 4096) for n in range(10))),
        {431},
    ),
    "390 KiB of headers": (
        get(b"/users", *(b"X-%d: %b\r\n" % (n, b"a" * 7000) for n in range(57))),
        {431},
    ),
    "a header of 100 KB": (get(b"/users", b"X-A: " + b"a" * 100_000 + b"\r\n"), {431}),
    "a query of 40 KB": (get(b"/users?" + b"x=1&" * 10_000), {431}),
    # Request lines
    "no version": (b"GET /users\r\n\r\n", {400, 505}),
    "a version that is not there": (b"GET /users HTTP/9.9\r\n" + HOST + b"\r\n", {400, 505}),
    "nonsense": (b"\x00\x01\x02\r\n\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "a method of nobody": (b"FOO /users HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {400, 405}),
    "a method in lower case": (b"get /users HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {400, 405}),
    "a long method": (b"A" * 5000 + b" /users HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {400, 405}),
    "a method of signs": (
        b"!#$%&'*+-.^_`|~ /users HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
        {400, 405},
    ),
    "a method beyond ASCII": (b"\xff\xfe /users HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {400}),
    "WEBSOCKET": (b"WEBSOCKET /users HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {400, 405}),
    "TRACE": (b"TRACE /users HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {405}),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {400, 404, 405}),
    "a path without its slash": (get(b"users"), {400, 404}),
    "no percent-encoding": (get(b"/users/%zz"), {400, 404}),
    "half a percent-encoding": (get(b"/users/%"), {400, 404}),
    "no UTF-8": (get(b"/users/%ff%fe"), {400, 404}),
    "a surrogate": (get(b"/users/%ed%a0%80"), {400, 404}),
    "NUL in the path": (get(b"/users/1%00"), {400, 404}),
    "a NUL byte in the path": (get(b"/users/\x00"), {400}),
    "UTF-8 in the path": (get(b"/users/\xc3\xa9"), {400, 404}),
    "bytes in the path": (get(b"/users/\xff"), {400}),
    "bytes in the query": (get(b"/users?limit=\xff"), {400, 422}),
    "no percent-encoding in the query": (get(b"/users?limit=%zz&after=%ff"), {422}),
    "NUL in the query": (get(b"/users?email=%00@a"), {422}),
    "a long unknown parameter": (get(b"/users?x=" + b"%e9" * 10_000), {422}),
    "many unknown parameters": (get(b"/users?" + b"x=1&" * 7000), {422}),
    "unknown parameters in no encoding": (get(b"/users?%ff=%fe&%=%zz"), {422}),
    "a long path": (get(b"/users/" + b"1" * 30_000), {404}),
    "a path of 60 KB": (get(b"/users/" + b"1" * 60_000), {431}),
    "a path of a megabyte": (get(b"/users/" + b"1" * 2**20), {400, 414, 431}),
}


def converse(service: Service, sent: bytes, *, end: bool = False) -> bytes:
    """All received bytes. `end` closes the sending direction at the end."""
    with connect(service) as connection:
        try:
            connection.sendall(sent)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            # It has heard enough; its answer may be there all the same.
            pass
        return b"".join(received(connection))


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname, address.port or 0), SECONDS)


def received(connection: socket.socket) -> Iterator[bytes]:
    try:
        while piece := connection.recv(65536):
            yield piece
    except ConnectionResetError:
        return


def statuses(conversation: bytes) -> list[int]:
    """Of all answers in it."""
    return [
        int(line.split()[1])
        for line in conversation.replace(b"}HTTP/1.", b"}\r\nHTTP/1.").split(b"\r\n")
        if line.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
    ]


def assert_answers(service: Service) -> None:
    """Requests probably reach both workers: each connection goes to one of them."""
    for _ in range(4):
        assert statuses(converse(service, get(b"/livez"))) == [200]


@pytest.fixture(autouse=True)
def _still_there(service: Service) -> Iterator[None]:
    """The same processes keep running, whatever a test sends."""
    before = [process.pid for process in service.workers()]
    yield
    assert_answers(service)
    assert [process.pid for process in service.workers()] == before


@pytest.mark.parametrize("name", REFUSED)
def test_refused(service: Service, engine: sa.Engine, name: str) -> None:
    sent, expected = REFUSED[name]
    answered = statuses(converse(service, sent))

    assert answered
    assert set(answered) <= expected
    assert dump(engine) == NOTHING


@pytest.mark.parametrize(
    "sent",
    [
        post(USER, length(1000)),
        post(USER[:-1], length(len(USER))),
        post(b"", length(len(USER))),
        post(chunked(USER)[: -len(USER) // 2], CHUNKED),
        POST + length(10),
        b"POST /users HTT",
        b"",
    ],
)
def test_truncated(service: Service, engine: sa.Engine, sent: bytes) -> None:
    """The client disconnects after half of the body, even if that half is valid JSON."""
    assert set(statuses(converse(service, sent, end=True))) <= {400, 408}
    assert dump(engine) == NOTHING


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_chunked_body_is_read(service: Service, engine: sa.Engine, size: int) -> None:
    assert statuses(converse(service, post(chunked(USER, size), CHUNKED))) == [201]
    assert len(dump(engine)["users"]) == 1


def test_expect_100_continue_is_confirmed(service: Service, engine: sa.Engine) -> None:
    with connect(service) as connection:
        connection.sendall(post(b"", length(len(USER)), b"Expect: 100-continue\r\n"))
        assert statuses(connection.recv(1000)) == [100]
        connection.sendall(USER)
        assert statuses(b"".join(received(connection))) == [201]
    assert len(dump(engine)["users"]) == 1


@pytest.mark.parametrize(
    "sent",
    [
        get(b"/users", b"X-Request-Id: \xff\xe9\r\n", b"Cookie: \xff\r\n", b"X-A: \xc3\xa9\r\n"),
        get(b"/users", b"If-None-Match: \xff\r\n"),
        get(b"/users", b'If-None-Match: "' + b'a","' * 7000 + b'"\r\n'),
        get(b"/users", b"X-A: " + b"a" * 30_000 + b"\r\n"),
        b"GET /users HTTP/1.0\r\n" + HOST + b"\r\n",
        b"GET http://localhost/users HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    ],
)
def test_unusual_requests_are_served(service: Service, sent: bytes) -> None:
    conversation = converse(service, sent)

    assert statuses(conversation) == [200]
    assert conversation.endswith(b"\r\n\r\n[]")


def test_pipelined_requests_get_responses_in_order(service: Service) -> None:
    alive = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    missing = b"GET /users/7 HTTP/1.1\r\n" + HOST + b"\r\n"
    wrong = b"POST /users HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: 2\r\n\r\n{}"
    sent = (alive + missing + wrong) * 3 + get(b"/users/0")

    assert statuses(converse(service, sent)) == [200, 404, 400] * 3 + [404]


@pytest.mark.parametrize(
    "path", [b"/nothing", b"/users/0", b"/livez", b"/users/7/certificates/7", b"/users"]
)
def test_the_body_of_a_refused_request_is_not_the_next_request(
    service: Service, path: bytes
) -> None:
    inner = b"DELETE /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    outer = b"PUT " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(inner)
    answered = statuses(converse(service, outer + inner + get(b"/livez")))

    assert answered[0] in (404, 405, 415)
    assert answered[1:] in ([200], [])


def test_a_request_with_two_lengths_is_rejected(service: Service, engine: sa.Engine) -> None:
    """With both, the chunks count (RFC 9112), or the request is rejected."""
    sent = post(chunked(b"{}") + get(b"/livez"), length(4), CHUNKED)

    assert statuses(converse(service, sent)) in ([400], [400, 200])
    assert dump(engine) == NOTHING


def test_a_slow_sender_is_served_and_delays_nobody(service: Service, engine: sa.Engine) -> None:
    sent = post(USER, length(len(USER)))
    with connect(service) as slow:
        for start in range(0, len(sent), 20):
            slow.sendall(sent[start : start + 20])
            if start % 100 == 0:
                assert statuses(converse(service, get(b"/livez"))) == [200]
        assert statuses(b"".join(received(slow))) == [201]
    assert len(dump(engine)["users"]) == 1


@pytest.mark.parametrize("sent", [b"", b"POST /us", POST, post(USER[:20], length(len(USER)))])
def test_incomplete_requests_leave_nothing_behind(
    service: Service, engine: sa.Engine, sent: bytes
) -> None:
    """There are more requests than threads. Each ends with a reset."""
    for _ in range(20):
        with connect(service) as connection:
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert_answers(service)
    assert dump(engine) == NOTHING


def test_clients_that_do_not_read_delay_nobody(service: Service) -> None:
    connections = [connect(service) for _ in range(20)]
    for connection in connections:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n")

    assert_answers(service)
    for connection in connections:
        connection.close()


def test_too_slow_senders_are_closed_without_effect_on_others(service: Service) -> None:
    """In waves, more of them than requests are worked on at once: some send nothing more, some a
    byte now and then, one of them in chunks."""
    begun = [
        post(USER[:20], length(len(USER))),
        post(b"", length(200_000)),
        post(b'5\r\n{"nam', CHUNKED),
        POST + b"Expect: 100-continue\r\n" + length(len(USER)) + b"\r\n",
    ]
    slow: list[socket.socket] = []
    # A connection that rests for so long may be cut with those of the same address that are slow.
    alone = httpx.Limits(max_keepalive_connections=0)
    with service.client(limits=alone) as client:
        before = cut_for(client, "slow")
        for _ in range(4):
            for sent in begun * 13:
                slow.append(connect(service))
                slow[-1].sendall(sent)
            for _ in range(20):
                assert client.get("/users/7").status_code == 404
                assert statuses(converse(service, post(b"{}", length(2)))) == [400]
        until = time.monotonic() + 60
        while cut_for(client, "slow") - before < len(slow):
            assert time.monotonic() < until
            for connection in slow[1 :: len(begun)]:
                with suppress(OSError):
                    connection.send(b"x")
            assert client.get("/users/7").status_code == 404
            time.sleep(0.5)
    for connection in slow:
        with connection:
            assert set(statuses(b"".join(received(connection)))) <= {100, 408}


def cut_for(client: httpx.Client, reason: str) -> int:
    """The number of closed connections in the metrics."""
    found = re.search(
        rf'customer_certificates_connections_closed_total{{reason="{reason}"}} (\d+)',
        client.get("/metrics").text,
    )
    return int(found[1]) if found else 0
