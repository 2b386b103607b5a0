"""A receiver of webhooks: what others run, cheap enough to be told of thousands of events a second.

It speaks as much HTTP as it is asked; it answers 200 unless a test says otherwise.
"""

import asyncio
import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import NamedTuple

import msgspec

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Received(NamedTuple):
    """A request that came in, and the status that it was answered with."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    at: float

    @property
    def id(self) -> int:
        """The event's."""
        return int(msgspec.json.decode(self.body)["id"])


class Receiver:
    """Listens on a free port of 127.0.0.1, in a thread of its own, until `close`."""

    def __init__(self, answer: Callable[[str], tuple[int, str]] | None = None) -> None:
        """`answer` gives the status and more headers, each with its end, for a path."""
        self.received: list[Received] = []
        self.answer = answer or (lambda _path: (200, ""))
        # After how many seconds a path is answered; infinity: not before `release`.
        self.delay: Callable[[str], float] = lambda _path: 0
        # Of each path, how many requests wait for their answers, and how many did at most.
        self.waiting: Counter[str] = Counter()
        self.most_waiting: Counter[str] = Counter()
        self._held: list[Callable[[], None]] = []
        self.open: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=256)
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        self._loop.run_until_complete(self._hang_up())
        self._loop.close()

    async def _hang_up(self) -> None:
        while self.open:
            for transport in self.open:
                transport.abort()
            await asyncio.sleep(0)

    def release(self) -> None:
        """Answers what waits, and delays nothing any more."""
        self.delay = lambda _path: 0
        self._loop.call_soon_threadsafe(self._answer_held)

    def later(self, path: str, answer: Callable[[], None]) -> None:
        """Calls `answer` when the path is to be answered."""

        def answer_now() -> None:
            self.waiting[path] -= 1
            answer()

        self.waiting[path] += 1
        self.most_waiting[path] = max(self.most_waiting[path], self.waiting[path])
        seconds = self.delay(path)
        if seconds == math.inf:
            self._held.append(answer_now)
        elif seconds:
            self._loop.call_later(seconds, answer_now)
        else:
            answer_now()

    def _answer_held(self) -> None:
        held, self._held = self._held, []
        for answer in held:
            answer()

    def ids(self, path: str = "/") -> list[int]:
        """The events that were taken at a path, in the order in which they came."""
        return [one.id for one in self.received if one.path == path and one.status == 200]


def failing(share: float) -> Callable[[str], tuple[int, str]]:
    """Fails this share of the time."""
    return lambda _path: (500 if random.random() < share else 200, "")


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, end, rest = self._came.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or not length or len(rest) < int(length[1]):
            return
        self._came = rest[int(length[1]) :]
        lines = head.decode().split("\r\n")
        path = lines[0].split(" ")[1]
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        headers["webhook-signature"] = next(
            (line.split(": ", 1)[1] for line in lines if line.lower().startswith("webhook-sig")), ""
        )
        status, more = self._receiver.answer(path)
        body = rest[: int(length[1])]
        self._receiver.received.append(Received(path, headers, body, status, time.time()))
        if status:
            answer = f"HTTP/1.1 {status} \r\n{more}Content-Length: 2\r\n\r\nok".encode()
            self._receiver.later(path, partial(self._transport.write, answer))
