"""Connections that wait for the next request to where they lead."""

import socket
from collections import OrderedDict
from threading import Lock
from time import monotonic
from typing import NamedTuple

from ..database.hang_watchdog import has_ended

_MOST = 256
_SECONDS = 30.0


class ConnectionRoute(NamedTuple):
    """Where a connection leads, and as what: a name that moved is another way."""

    scheme: str
    host: str
    port: int
    address: str


class IdleConnections:
    """At most 256, each for 30 s; whichever lay longest goes first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_way: OrderedDict[ConnectionRoute, list[tuple[float, socket.socket]]] = (
            OrderedDict()
        )
        self._count = 0

    def take(self, way: ConnectionRoute) -> socket.socket | None:
        """The one used last on this way that the other side has left open."""
        with self._lock:
            waiting = self._by_way.get(way, [])
            while waiting:
                since, connection = waiting.pop()
                self._count -= 1
                # One that has something to read before it was asked has ended, or is out of step.
                if since > monotonic() - _SECONDS and not has_ended(connection.fileno()):
                    return connection
                connection.close()
            self._by_way.pop(way, None)
        return None

    def keep(self, way: ConnectionRoute, connection: socket.socket) -> None:
        """For the next request on this way."""
        with self._lock:
            self._by_way.setdefault(way, []).append((monotonic(), connection))
            self._by_way.move_to_end(way)
            self._count += 1
            self._tidy()

    def close(self) -> None:
        """Closes all."""
        with self._lock:
            for waiting in self._by_way.values():
                for _, connection in waiting:
                    connection.close()
            self._by_way.clear()
            self._count = 0

    def _tidy(self) -> None:
        late = monotonic() - _SECONDS
        while True:
            way, waiting = next(iter(self._by_way.items()))
            if waiting and self._count <= _MOST and waiting[0][0] > late:
                return
            if waiting:
                waiting.pop(0)[1].close()
                self._count -= 1
            if not waiting:
                del self._by_way[way]
