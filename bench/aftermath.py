"""Whether reads are as fast as before after a burst of connections and of clients that send
slowly."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from statistics import median
from urllib.parse import urlsplit

from . import load
from .contenders import Ours
from .pairs import lost_in_pairs
from .workloads import CROWD, ONE_USER

_SLOW_SENDERS = 200
_PAUSE_SECONDS = 0.1
_HEAD = b"POST /users/1/certificates HTTP/1.1\r\nHost: bench\r\nContent-Length: 9000\r\n\r\n{"


def cost(ours: Ours, rounds: int, seconds: int) -> float:
    """Per cent of reads that a service is behind a fresh one after it."""
    fresh, burst = ours.start(), ours.start()
    try:
        with _slow_senders(burst.url):
            load.wrk(burst.url, CROWD, seconds)
        asks = [partial(load.wrk, server.url) for server in (fresh, burst)]
        return median(lost_in_pairs(ONE_USER, asks, rounds))
    finally:
        fresh.stop()
        burst.stop()


@contextmanager
def _slow_senders(url: str) -> Iterator[None]:
    """Clients that send a body byte by byte, until the block ends."""
    ended = threading.Event()
    address = urlsplit(url)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((address.hostname, address.port or 80)))
            for _ in range(_SLOW_SENDERS)
        ]

        def send() -> None:
            for client in clients:
                with suppress(OSError):
                    client.sendall(_HEAD)
            while not ended.wait(_PAUSE_SECONDS):
                for client in clients:
                    # The service may have cut the connection.
                    with suppress(OSError):
                        client.sendall(b" ")

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield
        finally:
            ended.set()
            sender.join()
