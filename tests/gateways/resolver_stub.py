"""A DNS resolver over real sockets that sends wrong responses."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import dns.message
import dns.rcode
from dns.message import Message

from customer_certificates.setting_parsers import ResolverAddress

Reply = Callable[[Message], bytes | None]


def refuse(query: Message) -> bytes:
    """The answer of a resolver that does not serve the client."""
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.REFUSED)
    return response.to_wire()


class ResolverStub:
    """`reply` gives the datagram that answers a query; None: no answer."""

    def __init__(self, reply: Reply = lambda _: None) -> None:
        self.queries: list[Message] = []
        self._reply = reply
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = ResolverAddress("127.0.0.1", self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _at: TracebackType | None,
    ) -> None:
        # The thread notices at the next datagram.
        with suppress(OSError):
            self._socket.sendto(b"", ("127.0.0.1", self.address.port))
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                datagram, sender = self._socket.recvfrom(4096)
                if not datagram:
                    return
                query = dns.message.from_wire(datagram)
                self.queries.append(query)
                reply = self._reply(query)
                if reply is not None:
                    self._socket.sendto(reply, sender)
