"""A pool of idle connections."""

import socket
from collections import OrderedDict
from threading import Lock
from time import monotonic
from typing import NamedTuple

from ..database.hang_watchdog import has_ended

_MOST = 256
_SECONDS = 30.0


class ConnectionRoute(NamedTuple):
    """The route of a connection.

    A name with a new address has another route.
    """

    scheme: str
    host: str
    port: int
    address: str


class IdleConnections:
    """At most 256 idle connections, for 30 s each.

    The oldest are closed first.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_way: OrderedDict[ConnectionRoute, list[tuple[float, socket.socket]]] = (
            OrderedDict()
        )
        self._count = 0

    def take(self, way: ConnectionRoute) -> socket.socket | None:
        """Returns the last used connection that the server has kept open."""
        with self._lock:
            waiting = self._by_way.get(way, [])
            while waiting:
                since, connection = waiting.pop()
                self._count -= 1
                # A connection with unread data is closed, or out of step.
                if since > monotonic() - _SECONDS and not has_ended(connection.fileno()):
                    return connection
                connection.close()
            self._by_way.pop(way, None)
        return None

    def keep(self, way: ConnectionRoute, connection: socket.socket) -> None:
        """Keeps a connection for the next request on its route."""
        with self._lock:
            self._by_way.setdefault(way, []).append((monotonic(), connection))
            self._by_way.move_to_end(way)
            self._count += 1
            self._tidy()

    def close(self) -> None:
        """Closes all connections."""
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
