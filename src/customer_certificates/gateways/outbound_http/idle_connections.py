"""A pool of idle connections."""

import socket
from collections import OrderedDict
from threading import Lock
from time import monotonic
from typing import NamedTuple

from ..database.hang_watchdog import has_ended

_MAX_CONNECTIONS = 256
_MAX_SECONDS = 30.0


class Route(NamedTuple):
    """The route of a connection. A name with a new address has another route."""

    scheme: str
    host: str
    port: int
    address: str


class IdleConnections:
    """At most 256 idle connections, for 30 s each. The oldest are closed first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_route: OrderedDict[Route, list[tuple[float, socket.socket]]] = OrderedDict()
        self._count = 0

    def pop(self, route: Route) -> socket.socket | None:
        """Returns the last used connection that the server has kept open."""
        with self._lock:
            idle = self._by_route.get(route, [])
            while idle:
                since, connection = idle.pop()
                self._count -= 1
                # A connection with unread data is closed, or out of step.
                if since > monotonic() - _MAX_SECONDS and not has_ended(connection.fileno()):
                    return connection
                connection.close()
            self._by_route.pop(route, None)
        return None

    def add(self, route: Route, connection: socket.socket) -> None:
        """Keeps a connection for the next request on its route."""
        with self._lock:
            self._by_route.setdefault(route, []).append((monotonic(), connection))
            self._by_route.move_to_end(route)
            self._count += 1
            self._close_oldest()

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            for idle in self._by_route.values():
                for _, connection in idle:
                    connection.close()
            self._by_route.clear()
            self._count = 0

    def _close_oldest(self) -> None:
        expired = monotonic() - _MAX_SECONDS
        while True:
            route, idle = next(iter(self._by_route.items()))
            if idle and self._count <= _MAX_CONNECTIONS and idle[0][0] > expired:
                return
            if idle:
                idle.pop(0)[1].close()
                self._count -= 1
            if not idle:
                del self._by_route[route]
