"""Outbound requests: allowed targets, reuse of connections, and reading of responses."""

import ipaddress
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from customer_certificates.gateways.outbound_http import (
    Outbound,
    PostResponse,
    TargetForbidden,
    TargetUnreachable,
)
from customer_certificates.gateways.outbound_http.blocked_addresses import is_of_this_machine
from customer_certificates.gateways.outbound_http.resolver import system_addresses

from ...factories import a_pair
from .forbidden_targets import FORBIDDEN
from .receiver import OK, Parts, Received, Receiver, tls_of

ROOTS = a_pair("nobody.example").body.encode()
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def nobody(name: str) -> Sequence[str]:
    raise AssertionError(f"{name} was resolved")


Make = Callable[..., Outbound]


@pytest.fixture
def outbound() -> Iterator[Make]:
    """Makes clients that resolve each name to this machine and allow it, except for `changes`."""
    with ExitStack() as stack:

        def make(**changes: Any) -> Outbound:
            arguments: dict[str, Any] = {
                "https_only": False,
                "allowed": LOOPBACK,
                "own": [],
                "roots_pem": ROOTS,
                "resolve": lambda _: ["127.0.0.1"],
                "now": lambda: NOW,
            }
            sender = Outbound(**arguments | changes)
            stack.callback(sender.close)
            return sender

        yield make


def post(sender: Outbound, url: str, body: bytes = b"{}") -> PostResponse:
    return sender.send(url, {"Content-Type": "application/json", "webhook-id": "evt_1"}, body)


@pytest.fixture
def sender(outbound: Make) -> Outbound:
    return outbound()


@pytest.fixture(scope="module")
def strict() -> Outbound:
    """A client that allows no private range, and fails if a name is resolved."""
    return Outbound(https_only=False, allowed=[], own=[], roots_pem=ROOTS, resolve=nobody)


@pytest.mark.parametrize("url", FORBIDDEN)
def test_a_blocked_url_is_rejected(url: str, strict: Outbound) -> None:
    with pytest.raises(TargetForbidden) as refused:
        strict.check(url)
    with pytest.raises(TargetForbidden):
        post(strict, url)
    assert refused.value.detail.endswith(".")
    assert refused.value.hint.endswith((".", "…"))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "HTTPS://Hooks.Example.COM/Path?query=1&b=%C3%A4",
        "http://hooks.example.com:8080/",
        "https://8.8.8.8/",
        "https://172.32.0.1:444/",
        "https://[2606:4700:4700::1111]:8443/x",
        "https://xn--bcher-kva.example/",
        "https://some_receiver/",
        "https://1.example/",
        "https://0x7f.example/",
        "https://hooks.example.com/~a/!$&'()*+,;=:@|^`{}\"<>[]",
        f"https://{'a' * 63}.example/",
    ],
)
def test_a_public_url_is_allowed(url: str, strict: Outbound) -> None:
    strict.check(url)


@pytest.mark.parametrize("host", ["bücher.example", "日本語.example"])
def test_the_hint_has_an_international_name_in_ascii(host: str, strict: Outbound) -> None:
    with pytest.raises(TargetForbidden) as refused:
        strict.check(f"https://{host}/path")

    told = refused.value.hint.removeprefix("Write the host in ASCII: ").removesuffix(".")
    strict.check(f"https://{told}/path")


def test_https_only_rejects_http(outbound: Make) -> None:
    sender = outbound(https_only=True)

    sender.check("https://hooks.example.com/")
    with pytest.raises(TargetForbidden, match="https"):
        sender.check("http://hooks.example.com/")


INTERNAL = [
    "127.0.0.1",
    "127.99.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::808:808",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "ff02::1",
]


@pytest.mark.parametrize("address", INTERNAL)
@pytest.mark.parametrize("others", [[], ["8.8.8.8", "2606:4700:4700::1111"]])
def test_a_name_with_a_private_address_is_rejected(
    address: str, others: list[str], outbound: Make
) -> None:
    for addresses in ([address, *others], [*others, address]):
        sender = outbound(allowed=[], resolve=lambda _, these=addresses: these)

        sender.check("https://hooks.example.com/")
        with pytest.raises(TargetForbidden) as refused:
            post(sender, "https://hooks.example.com/")
        assert address not in refused.value.detail


def test_one_blocked_address_blocks_the_name(outbound: Make) -> None:
    with Receiver() as receiver, pytest.raises(TargetForbidden):
        post(outbound(resolve=lambda _: ["127.0.0.1", "10.0.0.1"]), receiver.url("a.example"))

    assert receiver.connections == 0


def test_an_operator_can_allow_ranges(outbound: Make) -> None:
    sender = outbound(
        allowed=[ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("64:ff9b::/96")]
    )

    sender.check("http://10.1.2.3/")
    sender.check("http://[64:ff9b::8.8.8.8]/")
    # The IPv4 address within it must be allowed as well.
    sender.check("http://[64:ff9b::10.1.2.3]/")
    for url in ("http://10.2.0.1/", "http://127.0.0.1/", "http://[64:ff9b::10.2.0.1]/"):
        with pytest.raises(TargetForbidden):
            sender.check(url)


def test_the_own_addresses_of_the_service_are_blocked(outbound: Make) -> None:
    sender = outbound(allowed=[], own=[ipaddress.ip_network("8.8.8.8")])

    sender.check("https://8.8.4.4/")
    with pytest.raises(TargetForbidden, match="own"):
        sender.check("https://8.8.8.8/")


def test_the_addresses_of_this_machine_are_known() -> None:
    assert is_of_this_machine(ipaddress.ip_address("127.0.0.1"))
    assert not is_of_this_machine(ipaddress.ip_address("192.0.2.1"))


def test_a_request_arrives_unchanged(sender: Outbound) -> None:
    with Receiver() as receiver:
        answer = post(sender, receiver.url("Hooks.Example.com", "/a?b=c"), '{"ä": 1}'.encode())

    (received,) = receiver.received
    assert (answer.status, answer.retry_after, answer.body_start) == (204, None, b"")
    assert received.line == "POST /a?b=c HTTP/1.1"
    assert received.body == '{"ä": 1}'.encode()
    assert received.header("host") == [f"hooks.example.com:{receiver.port}"]
    assert received.header("webhook-id") == ["evt_1"]
    assert received.header("content-length") == ["9"]


def test_the_system_resolves_names(outbound: Make) -> None:
    sender = outbound(allowed=[*LOOPBACK, ipaddress.ip_network("::1")], resolve=system_addresses)
    with Receiver() as receiver:
        assert post(sender, receiver.url("localhost")).status == 204
        with pytest.raises(TargetUnreachable, match="no address"):
            post(sender, receiver.url("nowhere.invalid"))


def test_a_name_is_resolved_once_in_each_attempt(outbound: Make) -> None:
    asked: list[str] = []

    def changing(name: str) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) % 2 else ["169.254.169.254"]

    sender = outbound(resolve=changing)
    with Receiver() as receiver:
        for attempt in range(1, 7):
            if attempt % 2:
                assert post(sender, receiver.url("rebinding.example")).status == 204
            else:
                # The connection of the attempt before is still open, and not used.
                with pytest.raises(TargetForbidden):
                    post(sender, receiver.url("rebinding.example"))
            assert asked == ["rebinding.example"] * attempt

    assert len(receiver.received) == 3


def test_a_new_address_of_a_name_is_used(outbound: Make) -> None:
    where = ["127.0.0.1"]
    sender = outbound(resolve=lambda _: where)
    with Receiver() as here, Receiver(address="127.0.0.2", port=here.port) as there:
        post(sender, here.url("moving.example"))
        where[0] = "127.0.0.2"
        post(sender, here.url("moving.example"))

    assert (len(here.received), len(there.received)) == (1, 1)


def test_the_next_address_is_tried(outbound: Make) -> None:
    sender = outbound(resolve=lambda _: ["127.0.0.3", "127.0.0.1"])
    with Receiver() as receiver:
        assert post(sender, receiver.url("two.example")).status == 204


def test_a_lookup_that_hangs_does_not_delay_the_attempt(outbound: Make) -> None:
    hang = threading.Event()
    sender = outbound(resolve=lambda _: ["127.0.0.1"] if hang.wait() else [], seconds=0.2)

    with pytest.raises(TargetUnreachable, match="within 0"):
        post(sender, "http://hanging.example/")
    hang.set()


def test_redirects_are_not_followed(sender: Outbound) -> None:
    elsewhere = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
    with Receiver(lambda _: [elsewhere]) as receiver:
        assert post(sender, receiver.url()).status == 307

    assert [received.line for received in receiver.received] == ["POST /hook HTTP/1.1"]


def drip(first: bytes) -> Callable[[Received], Parts]:
    """Sends `first`, then a byte every 50 ms for half a minute."""

    def answer(_: Received) -> Parts:
        yield first
        never = threading.Event()
        for _round in range(600):
            never.wait(0.05)
            yield b"x"
        yield b"\r\n\r\n"

    return answer


def test_a_slow_head_times_out(outbound: Make) -> None:
    dripping = Receiver(drip(b"HTTP/1.1 200 OK\r\nX-Drip: "))
    with dripping as receiver, pytest.raises(TargetUnreachable, match="within 0"):
        post(outbound(seconds=0.4), receiver.url())


def test_a_slow_body_counts_as_it_arrived(outbound: Make) -> None:
    with Receiver(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nbeg")) as receiver:
        answer = post(outbound(seconds=0.4), receiver.url())

        assert answer.status == 200
        assert answer.body_start.startswith(b"beg")
        assert receiver.ended.acquire(timeout=10)


def test_a_missing_response_times_out(outbound: Make) -> None:
    silent = threading.Event()
    with (
        Receiver(lambda _: [OK] if silent.wait() else []) as receiver,
        pytest.raises(TargetUnreachable, match="within 0"),
    ):
        post(outbound(seconds=0.3), receiver.url())
    silent.set()


def test_the_first_kilobyte_is_kept(sender: Outbound) -> None:
    body = bytes(range(256)) * 8
    head = f"HTTP/1.1 500 Oh\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with Receiver(lambda _: [head, body[:700], body[700:]]) as receiver:
        for _ in range(3):
            assert post(sender, receiver.url()).body_start == body[:1024]

    assert receiver.connections == 1


def test_little_of_a_large_response_is_read(sender: Outbound) -> None:
    def endless(_: Received) -> Parts:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"1000\r\n" + b"x" * 4096 + b"\r\n"

    with Receiver(endless) as receiver:
        answer = post(sender, receiver.url())

        assert (answer.status, answer.body_start) == (200, b"x" * 1024)
        assert receiver.ended.acquire(timeout=10)


@pytest.mark.parametrize(
    ("answer", "beginning", "is_kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
        (OK, b"", True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n",
            b"ok!",
            True,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n",
            b"ok",
            True,
        ),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"", False),
    ],
)
def test_a_connection_is_kept_if_the_response_is_complete(
    answer: bytes, beginning: bytes, is_kept: bool, sender: Outbound
) -> None:
    with Receiver(lambda _: [answer]) as receiver:
        answers = [post(sender, receiver.url()) for _ in range(2)]

    assert [(one.status // 100, one.body_start) for one in answers] == [(2, beginning)] * 2
    assert receiver.connections == (1 if is_kept else 2)


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n"
NO_BODY = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "interim",
    [
        [CONTINUE],
        [HINTS],
        [PROCESSING],
        [b"HTTP/1.1 199 Whatever\r\n\r\n"],
        [CONTINUE, PROCESSING, HINTS, HINTS],
        [HINTS] * 1000,
        [CONTINUE + HINTS + PROCESSING],
        [HINTS[:20], HINTS[20:-1], HINTS[-1:]],
    ],
)
def test_the_status_is_that_of_the_final_response(interim: list[bytes], sender: Outbound) -> None:
    statuses = iter([200, 500, 503])
    with Receiver(lambda _: [*interim, NO_BODY % next(statuses)]) as receiver:
        answers = [post(sender, receiver.url()).status for _ in range(3)]

    assert answers == [200, 500, 503]
    assert receiver.connections == 1


def test_a_late_response_is_not_that_of_the_next_request(outbound: Make) -> None:
    late = threading.Event()

    def answer(request: Received) -> Parts:
        yield HINTS
        if request.body == b"1":
            late.wait()
        yield NO_BODY % (200 if request.body == b"1" else 500)

    sender = outbound(seconds=0.3)
    with Receiver(answer) as receiver:
        with pytest.raises(TargetUnreachable, match="within 0"):
            post(sender, receiver.url(), b"1")
        late.set()
        assert post(sender, receiver.url(), b"2").status == 500

    assert receiver.connections == 2


@pytest.mark.parametrize("interim", [[HINTS], [CONTINUE, HINTS], [PROCESSING], [HINTS[:-2]]])
def test_interim_responses_alone_are_not_a_response(interim: list[bytes], sender: Outbound) -> None:
    def hang_up(_: Received) -> Parts:
        yield from interim
        raise ConnectionResetError

    with Receiver(hang_up) as receiver, pytest.raises(TargetUnreachable, match="HTTP"):
        post(sender, receiver.url())


@pytest.mark.parametrize(
    "part", [HINTS, CONTINUE, b"HTTP/1.1 102 P\r\nX: " + b"x" * 9999 + b"\r\n\r\n"]
)
def test_endless_interim_responses_are_cut(part: bytes, sender: Outbound) -> None:
    def endless(_: Received) -> Parts:
        while True:
            yield part

    with Receiver(endless) as receiver:
        with pytest.raises(TargetUnreachable, match="HTTP"):
            post(sender, receiver.url())
        assert receiver.ended.acquire(timeout=60)


def test_interim_responses_do_not_extend_the_deadline(outbound: Make) -> None:
    with (
        Receiver(drip(HINTS + HINTS[:20])) as receiver,
        pytest.raises(TargetUnreachable, match="within 0"),
    ):
        post(outbound(seconds=0.4), receiver.url())


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        # Something follows the response.
        NO_BODY % 200 + NO_BODY % 200,
        NO_BODY % 200 + b"\r\n",
        OK + b"a body that no 204 has",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok",
        CHUNKED + b"0\r\n\r\n" + NO_BODY % 200,
        HINTS + NO_BODY % 200 + HINTS,
        # Its end is not certain.
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        # It is not whole.
        CHUNKED + b"2\r\nok\r\n0\r\n",
        CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1",
    ],
)
def test_a_connection_with_an_uncertain_end_is_closed(
    answer: bytes, tmp_path: Path, outbound: Make
) -> None:
    pair = a_pair("hooks.example.com")

    def answers(_: Received) -> Parts:
        yield answer
        if answer.startswith(CHUNKED + b"2"):
            raise ConnectionResetError

    for tls in (None, tls_of(pair, tmp_path)):
        sender = outbound(roots_pem=pair.body.encode())
        with Receiver(answers, tls=tls) as receiver:
            for number in range(1, 3):
                post(sender, receiver.url("hooks.example.com"))
                assert receiver.connections == number


def test_an_unsolicited_response_is_ignored(sender: Outbound) -> None:
    asked, sent = threading.Event(), threading.Event()

    def answer(request: Received) -> Parts:
        yield NO_BODY % 500
        if request.connection == 0:
            asked.wait()
            yield NO_BODY % 200
            sent.set()

    with Receiver(answer) as receiver:
        post(sender, receiver.url())
        asked.set()
        sent.wait()
        assert post(sender, receiver.url()).status == 500

    assert receiver.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [b"SSH-2.0-OpenSSH_9.2\r\n"],
        [b"HTTP/1.1 abc\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 200 + b"\r\n"],
        [b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000],
        [b"\x15\x03\x01\x00\x02\x02\x46" * 3 + b"\r\n"],
    ],
)
def test_an_invalid_response_is_reported(answer: list[bytes], sender: Outbound) -> None:
    with Receiver(lambda _: answer) as receiver, pytest.raises(TargetUnreachable, match="HTTP"):
        post(sender, receiver.url())


def test_a_closed_port_is_reported(sender: Outbound) -> None:
    with Receiver() as receiver:
        url = receiver.url()
    with pytest.raises(TargetUnreachable, match="refused"):
        post(sender, url)


def test_a_connection_that_the_server_closed_is_replaced(sender: Outbound) -> None:
    def once(_: Received) -> Parts:
        yield OK
        raise ConnectionResetError

    with Receiver(once) as receiver:
        for attempt in range(1, 4):
            assert post(sender, receiver.url()).status == 204
            assert receiver.ended.acquire(timeout=10)
            assert receiver.connections == attempt


def test_a_connection_that_is_closed_as_it_is_used_is_replaced(sender: Outbound) -> None:
    used: list[int] = []

    def once(request: Received) -> Parts:
        used.append(request.connection)
        return [OK] if used.count(request.connection) == 1 else []

    with Receiver(once) as receiver:
        assert [post(sender, receiver.url()).status for _ in range(3)] == [204] * 3

    assert used == [0, 0, 1, 1, 2]


def test_many_threads_share_connections(sender: Outbound) -> None:
    with Receiver() as receiver:

        def send() -> None:
            for number in range(50):
                post(sender, receiver.url(), str(number).encode())

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    bodies = sorted(int(received.body) for received in receiver.received)
    assert bodies == sorted([*range(50)] * 6)
    assert receiver.connections <= 6


def test_tls_verifies_the_name(tmp_path: Path, outbound: Make) -> None:
    pair = a_pair("hooks.example.com")
    sender = outbound(https_only=True, roots_pem=pair.body.encode())
    with Receiver(tls=tls_of(pair, tmp_path)) as receiver:
        for _ in range(3):
            assert post(sender, receiver.url("hooks.example.com")).status == 204
        assert receiver.connections == 1
        with pytest.raises(TargetUnreachable, match="certificate was rejected: Hostname mismatch"):
            post(sender, receiver.url("other.example.com"))
        with pytest.raises(TargetUnreachable, match="certificate was rejected"):
            post(sender, receiver.url("127.0.0.1"))
        with pytest.raises(TargetUnreachable, match="certificate was rejected"):
            post(outbound(), receiver.url("hooks.example.com"))

    assert {received.server_name for received in receiver.received} == {"hooks.example.com"}


def test_a_server_without_tls_is_reported(sender: Outbound) -> None:
    refusing = Receiver(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with refusing as receiver, pytest.raises(TargetUnreachable, match="TLS"):
        post(sender, receiver.url("hooks.example.com").replace("http:", "https:"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("9" * 400, 86400),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), 300),
        ("Wednesday, 25-Nov-26 12:05:00 GMT", 300),
        ("Wed Nov 25 12:05:00 2026", 300),
        (format_datetime(NOW - timedelta(minutes=5), usegmt=True), 0),
        (format_datetime(NOW + timedelta(days=99), usegmt=True), 86400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("１２", None),
        ("soon", None),
        ("Mon, 99 Nov 2026 99:99:99 GMT", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Wed, 25 Nov 2026 12:05:00 +9999999", None),
    ],
)
def test_retry_after_is_parsed(text: str, seconds: float | None, sender: Outbound) -> None:
    head = f"HTTP/1.1 503 No\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n"
    with Receiver(lambda _: [head.encode()]) as receiver:
        assert post(sender, receiver.url()).retry_after == seconds
