"""Requests are worked on in turn, and one whose body is still on its way holds up nobody."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from time import monotonic
from typing import Protocol

from falcon import Request, Response

from ..errors import TooManyRequests, TooSlow
from ..gateways.connections import Underway
from .turns import Turns

# Half of the connections that a worker takes: no peer holds all of them this way.
_MOST_BODIES = 256


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class InTurn:
    """Each request has a thread of its own, and few of them have their turn at a time.

    Whoever asks whether the service can do its work has turns apart: it is to be told of what holds
    up all others. Whoever asks whether the process lives needs none.
    """

    def __init__(self, turns: Turns, turns_of_health: Turns) -> None:
        self._turns = turns
        self._turns_of_health = turns_of_health
        self._underway: dict[int, Underway] = {}
        self._bodies: Counter[str] = Counter()
        self._lock = Lock()

    def process_request(self, req: Request, resp: Response) -> None:
        """Waits for its turn. Raises Unavailable where that would take too long."""
        if req.path == "/livez":
            return
        context, env = req.context, req.env
        context.has_turn = False
        is_health = req.path == "/healthcheck"
        context.turns = self._turns_of_health if is_health else self._turns
        context.underway = self._underway[id(req)] = Underway(req.remote_addr, monotonic())
        context.turns.take()
        context.has_turn = True
        context.pause = partial(self._pause, req)
        if "HTTP_TRANSFER_ENCODING" in env or env.get("CONTENT_LENGTH", "0") != "0":
            req.stream = _Body(self, req)  # type: ignore[assignment]

    def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        """The next one has its turn."""
        if self._underway.pop(id(req), None) and req.context.has_turn:
            req.context.turns.give_back()

    def underway(self) -> list[Underway]:
        """The requests that are not answered yet."""
        return list(self._underway.values())

    def read(self, req: Request, stream: _Stream, size: int) -> bytes:
        """`size` bytes of the body, or all that there are; meanwhile another has the turn.

        Raises TooSlow where its connection was cut for it, TooManyRequests, Unavailable.
        """
        context = req.context
        underway: Underway = context.underway
        self._count_body(context.peer)
        context.has_turn = False
        req.context.turns.give_back()
        underway.body_awaited = monotonic()
        try:
            body = stream.read(size)
        finally:
            underway.body_awaited = None
            self._count_off(context.peer)
        if underway.was_cut and len(body) != req.content_length:
            raise TooSlow("The body came too slowly.")
        req.context.turns.take(again=True)
        context.has_turn = True
        return body

    @contextmanager
    def _pause(self, req: Request) -> Iterator[None]:
        """The request does nothing but wait: meanwhile another has the turn. Raises Unavailable."""
        req.context.has_turn = False
        req.context.turns.give_back()
        try:
            yield
        finally:
            req.context.turns.take(again=True)
            req.context.has_turn = True

    def _count_body(self, peer: str) -> None:
        with self._lock:
            if self._bodies[peer] >= _MOST_BODIES:
                raise TooManyRequests(
                    "Too many of your requests are still on their way. Send fewer at once.",
                    retry_after=1,
                )
            self._bodies[peer] += 1

    def _count_off(self, peer: str) -> None:
        with self._lock:
            self._bodies[peer] -= 1
            if not self._bodies[peer]:
                del self._bodies[peer]


class _Body:
    """The stream of a body, read by whoever has its turn."""

    def __init__(self, in_turn: InTurn, req: Request) -> None:
        self._in_turn = in_turn
        self._req = req
        self._stream: _Stream = req.stream

    def read(self, size: int) -> bytes:
        return self._in_turn.read(self._req, self._stream, size)
