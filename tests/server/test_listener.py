"""The limits of the HTTP server, with a small application (test_wire.py: the service)."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest

from customer_certificates.gateways import loop
from customer_certificates.server import connection as connections
from customer_certificates.server import listener as servers
from customer_certificates.server.listener import HttpServer

_WAIT_SECONDS = 30
_LARGE = b"x" * 2**20
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

Start = Callable[[str, list[tuple[str, str]]], object]


class Server:
    """A server in the running loop. Records requests, and why connections were closed."""

    def __init__(
        self, answer: Callable[[dict[str, Any]], bytes] = lambda _: b"", most: int = 512
    ) -> None:
        self.environs: list[dict[str, Any]] = []
        self.cut: list[str] = []
        self.headers: list[tuple[str, str]] = []
        self._answer = answer
        self._clients: list[asyncio.StreamWriter] = []
        self._listener = listener = socket.create_server(("127.0.0.1", 0))
        # As the supervisor has it: little of an answer fits into the kernel.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
        self.port = listener.getsockname()[1]
        self.http = HttpServer(
            self._app,
            listener,
            tls=None,
            most_connections=most,
            most_body_bytes=1000,
            on_cut=self.cut.append,
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client with a small receive buffer."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        except OSError:
            client.close()
            raise
        reader, writer = await asyncio.open_connection(sock=client, limit=4096)
        self._clients.append(writer)
        return reader, writer

    async def ask(self, sent: bytes) -> bytes:
        """All received bytes until the connection ends."""
        reader, writer = await self.connect()
        writer.write(sent)
        return await reader.read()

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._clients:
            writer.transport.abort()
        await self.http.drain(_WAIT_SECONDS)

    def _app(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        self.environs.append(environ)
        body = self._answer(environ)
        start("200 OK", [("content-length", str(len(body))), *self.headers])
        return [body]


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(_WAIT_SECONDS):
            await main()

    asyncio.run(in_time())


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


def test_requests_wait_until_earlier_responses_were_read() -> None:
    async def main() -> None:
        async with Server(lambda _: _LARGE) as server:
            reader, writer = await server.connect()
            writer.write(GET * 1000)
            other = await server.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert other.endswith(_LARGE)
            # The kernel takes some of them.
            assert len(server.environs) < 20
            taken = 0
            while taken < 10 * len(_LARGE):
                taken += len(await reader.read(65536))

    run(main)


def test_unread_responses_of_one_client_are_limited() -> None:
    async def main() -> None:
        async with Server(lambda _: _LARGE) as server:
            clients = [await server.connect() for _ in range(40)]
            for _, writer in clients:
                writer.write(GET)
            await until(lambda: len(server.environs) == len(clients))
            await until(lambda: len(server.cut) > 20)
            assert set(server.cut) == {"slow"}

    run(main)


def test_a_connection_whose_client_reads_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_UNREAD_SECONDS", 0.1)

    async def main() -> None:
        async with Server(lambda _: _LARGE) as server:
            _, writer = await server.connect()
            writer.write(GET)
            await until(lambda: server.cut == ["slow"])

    run(main)


def test_idle_connections_make_room_if_most_connections_are_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "_SHED_SECONDS", 0)
    monkeypatch.setattr(servers, "_CHECK_SECONDS", 0.05)
    monkeypatch.setattr(servers, "_RETRY_SECONDS", 0.05)

    async def main() -> None:
        async with Server(most=16) as server:
            for _ in range(64):
                await server.connect()
            answer = await server.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert set(server.cut) == {"shed"}

    run(main)


def test_connections_beyond_the_bound_wait_for_others_to_end() -> None:
    async def main() -> None:
        released = asyncio.Event()

        def wait(_: object) -> bytes:
            while not released.is_set():
                loop.sleep(0.01)
            return b"done"

        async with Server(wait, most=4) as server:
            closing = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            asked = [asyncio.create_task(server.ask(closing)) for _ in range(8)]
            await until(lambda: len(server.environs) == 4)
            await asyncio.sleep(0.05)
            assert len(server.environs) == 4
            released.set()
            answers = await asyncio.gather(*asked)
            assert all(answer.endswith(b"done") for answer in answers)
            assert server.cut == []

    run(main)


def test_a_request_completes_after_its_client_has_disconnected() -> None:
    async def main() -> None:
        released = asyncio.Event()
        done: list[str] = []

        def wait(_: object) -> bytes:
            while not released.is_set():
                loop.sleep(0.01)
            done.append("done")
            return b"done"

        async with Server(wait) as server:
            _, writer = await server.connect()
            writer.write(GET)
            await until(lambda: len(server.environs) == 1)
            writer.transport.abort()
            draining = asyncio.create_task(server.http.drain(_WAIT_SECONDS))
            await asyncio.sleep(0.1)
            assert not draining.done()
            released.set()
            await draining
            assert done == ["done"]

    run(main)


def test_headers_reach_the_application_unambiguously() -> None:
    async def main() -> None:
        async with Server() as server:
            await server.ask(
                b"GET http://a/b%20c?d=%20 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-A: 2\r\nX_A: 3\r\n"
                b"Cookie: e=1\r\nCookie: f=2\r\nConnection: close\r\n\r\n"
            )
            (environ,) = server.environs
            assert environ["HTTP_X_A"] == "1,2"
            assert environ["HTTP_COOKIE"] == "e=1; f=2"
            assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/b c", "d=%20")
            assert environ["REMOTE_ADDR"] == "127.0.0.1"
            assert environ["wsgi.url_scheme"] == "http"

    run(main)


def test_a_response_header_with_a_line_break_is_not_sent() -> None:
    async def main() -> None:
        async with Server() as server:
            server.headers = [("x-a", "1\r\nx-b: 2")]
            with suppress(ConnectionResetError):
                assert await server.ask(GET) == b""

    run(main)


def test_a_draining_server_responds_once_more_on_open_connections() -> None:
    async def main() -> None:
        async with Server(lambda _: b"done") as server:
            reader, writer = await server.connect()
            writer.write(GET)
            assert (await reader.readuntil(b"done")).count(b"connection: close") == 0
            server.http.start_draining()
            with pytest.raises(ConnectionRefusedError):
                await server.connect()
            writer.write(GET)
            assert b"connection: close" in await reader.read()
            await server.http.drain(_WAIT_SECONDS)

    run(main)
