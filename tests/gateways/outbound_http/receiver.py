"""A receiver of webhooks over real sockets that answers as it is told, badly if need be."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from ...factories import Pair

Parts = Iterable[bytes]

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """A request as it came, on which connection (from 0), and the name that TLS asked for."""

    connection: int
    head: str
    body: bytes
    server_name: str | None

    @property
    def line(self) -> str:
        return self.head.partition("\r\n")[0]

    def header(self, name: str) -> list[str]:
        lines = [line.partition(": ") for line in self.head.split("\r\n")[1:]]
        return [value for key, _, value in lines if key.lower() == name]


class Receiver:
    """Listens on `address`; `answer` gives the bytes to send back in parts, none to hang up."""

    def __init__(
        self,
        answer: Callable[[Received], Parts] = lambda _: [OK],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        greeting: bytes = b"",
    ) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.ended = threading.Semaphore(0)
        self._answer = answer
        self._tls = tls
        self._greeting = greeting
        self._listener = socket.create_server((address, port))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _at: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def url(self, host: str = "127.0.0.1", path: str = "/hook") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                number, self.connections = self.connections, self.connections + 1
                threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, suppress(OSError):
            greeted: list[str | None] = [None]
            if self._tls:
                self._tls.sni_callback = lambda _socket, name, _context: greeted.append(name)
                connection = self._tls.wrap_socket(connection, server_side=True)
            connection.sendall(self._greeting)
            with connection, connection.makefile("rb") as stream:
                while head := _head(stream):
                    length = int(
                        head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0
                    )
                    request = Received(
                        number, head.decode().strip(), stream.read(length), greeted[-1]
                    )
                    self.received.append(request)
                    sent = False
                    for part in self._answer(request):
                        connection.sendall(part)
                        sent = True
                    if not sent:
                        break
        self.ended.release()


def _head(stream: BinaryIO) -> bytes:
    """A request's lines up to the empty one; nothing where the other side has hung up."""
    lines = []
    while (line := stream.readline()) not in (b"\r\n", b""):
        lines.append(line)
    return b"".join(lines)


def tls_of(pair: Pair, folder: Path) -> ssl.SSLContext:
    """The server's side of TLS with this certificate."""
    (folder / "receiver.pem").write_bytes(pair.body.encode() + pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "receiver.pem")
    return context
