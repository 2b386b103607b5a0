"""The pool of idle connections."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from customer_certificates.gateways.outbound_http import idle_connections
from customer_certificates.gateways.outbound_http.idle_connections import IdleConnections, Route

HERE = Route("https", "a.example", 443, "192.0.2.1")


class Pairs:
    """Connected sockets: ours, and the other side's."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        return self._stack.enter_context(ours), self._stack.enter_context(theirs)


@pytest.fixture
def pair() -> Iterator[Pairs]:
    with ExitStack() as stack:
        yield Pairs(stack)


def is_closed(connection: socket.socket) -> bool:
    return connection.fileno() == -1


def test_the_last_used_connection_is_used_first(pair: Pairs) -> None:
    waiting = IdleConnections()
    first, second = pair()[0], pair()[0]
    waiting.add(HERE, first)
    waiting.add(HERE, second)

    assert [waiting.pop(HERE) for _ in range(3)] == [second, first, None]


@pytest.mark.parametrize(
    "other",
    [
        HERE._replace(scheme="http"),
        HERE._replace(host="b.example"),
        HERE._replace(port=444),
        HERE._replace(address="192.0.2.2"),
    ],
)
def test_another_route_has_other_connections(pair: Pairs, other: Route) -> None:
    waiting = IdleConnections()
    waiting.add(HERE, pair()[0])

    assert waiting.pop(other) is None


def test_a_closed_connection_is_not_used(pair: Pairs) -> None:
    waiting = IdleConnections()
    good, closed = pair(), pair()
    waiting.add(HERE, good[0])
    waiting.add(HERE, closed[0])
    closed[1].close()

    assert waiting.pop(HERE) is good[0]
    assert is_closed(closed[0])


def test_a_connection_with_unread_data_is_closed(pair: Pairs) -> None:
    """Otherwise each response would be taken for that to the next request."""
    waiting = IdleConnections()
    ours, theirs = pair()
    waiting.add(HERE, ours)
    theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    assert waiting.pop(HERE) is None
    assert is_closed(ours)


def test_an_old_connection_is_not_used(pair: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, now = IdleConnections(), 100.0
    monkeypatch.setattr(idle_connections, "monotonic", lambda: now)
    old, older = pair()[0], pair()[0]
    waiting.add(HERE, older)
    now += 31
    waiting.add(HERE._replace(port=444), old)
    assert is_closed(older)
    now += 31

    assert waiting.pop(HERE) is None
    assert waiting.pop(HERE._replace(port=444)) is None
    assert is_closed(old)


def test_the_number_of_connections_is_limited(pair: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_connections, "_MAX_CONNECTIONS", 4)
    waiting = IdleConnections()
    kept = [pair()[0] for _ in range(7)]
    for number, connection in enumerate(kept):
        waiting.add(HERE._replace(port=1 + number % 3), connection)

    assert [is_closed(one) for one in kept] == [True] * 3 + [False] * 4
    waiting.close()
    assert all(is_closed(one) for one in kept)
