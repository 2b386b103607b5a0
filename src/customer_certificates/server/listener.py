"""Accepts connections for one worker, with limits and a graceful shutdown."""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from email.utils import formatdate
from typing import Any

from .connection import Connection
from .request import WsgiApp

_HANDSHAKE_SECONDS = 10
_CHECK_SECONDS = 1
# The most unread response bytes of all clients with one address.
_MOST_UNREAD_BYTES = 8 * 2**20
# Seconds after which a process without free descriptors tries again.
_RETRY_SECONDS = 0.5

_log = logging.getLogger(__name__)


class HttpServer:
    """Serves a WSGI application on a listening socket, in the running event loop.

    It accepts no more than `most_connections`. If three quarters of them are open, the clients with
    the most connections lose idle ones, until half are open.
    """

    def __init__(
        self,
        app: WsgiApp,
        listener: socket.socket,
        *,
        tls: ssl.SSLContext | None,
        most_connections: int,
        most_body_bytes: int,
        on_cut: Callable[[str], None],
    ) -> None:
        """`on_cut` is called with the reason when a connection is closed.

        The reason is `slow` or `shed`.
        """
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.host, self.port = listener.getsockname()[:2]
        self.most_body_bytes = most_body_bytes
        self.on_cut = on_cut
        self.is_draining = False
        self.date = formatdate(usegmt=True)
        self._listener: socket.socket | None = listener
        self._tls = tls
        self.is_tls = tls is not None
        self._most_connections = most_connections
        self._connections: dict[Connection, None] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._is_accepting = False
        listener.setblocking(False)
        self._accept_more()
        self._check()

    def start_draining(self) -> None:
        """Stops accepting connections.

        Each response is the last on its connection (RFC 9112, 9.6).
        """
        self.is_draining = True
        if self._listener:
            self._pause()
            self._listener.close()
            self._listener = None

    async def drain(self, seconds: float) -> None:
        """Closes idle connections, and waits for the others.

        Returns when all are closed, or after `seconds`.
        """
        self.start_draining()
        until = self.now() + seconds
        while self._is_busy and self.now() < until:
            for connection in list(self._connections):
                connection.close_if_idle()
            await asyncio.sleep(0.02)

    async def wait_for_clients(self, seconds: float, ending: asyncio.Event) -> None:
        """Waits until all clients have closed their connections.

        Returns then, after `seconds`, or when `ending` is set.
        """
        until = self.now() + seconds
        while self._is_busy and self.now() < until and not ending.is_set():
            await asyncio.sleep(0.05)

    @property
    def _is_busy(self) -> bool:
        # A request is completed even if its client has disconnected.
        return bool(self._connections or self._opening or self._answering)

    # Called by connections.

    def start(self, answer: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts to process a request."""
        task = self.loop.create_task(answer)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return task

    def opened(self, connection: Connection) -> None:
        """Records a connection that is ready for requests."""
        self._connections[connection] = None

    def closed(self, connection: Connection) -> None:
        """Records a closed connection."""
        self._connections.pop(connection, None)
        self._accept_more()

    def limit_unread(self, connection: Connection) -> None:
        """Closes connections of a client with too many unread response bytes."""
        if not connection.unread:
            return
        peer = connection.peer
        same_peer = [open_ for open_ in self._connections if open_.peer == peer and open_.unread]
        total = sum(open_.unread for open_ in same_peer)
        # The oldest come first.
        for slow in same_peer:
            if total <= _MOST_UNREAD_BYTES:
                break
            if slow is not connection:
                total -= slow.unread
                slow.cut("slow")

    def _shed(self, now: float) -> None:
        open_of = Counter(connection.peer for connection in self._connections)
        idle = [connection for connection in self._connections if connection.is_idle(now)]
        # Of equals, the oldest go first.
        idle.sort(key=lambda connection: -open_of[connection.peer])
        for connection in idle[: len(self._connections) - self._most_connections // 2]:
            connection.cut("shed")

    def _accept_more(self) -> None:
        has_room = len(self._connections) + len(self._opening) < self._most_connections
        if self._listener and has_room and not self._is_accepting:
            self._is_accepting = True
            self.loop.add_reader(self._listener, self._accept)

    def _pause(self) -> None:
        if self._listener and self._is_accepting:
            self._is_accepting = False
            self.loop.remove_reader(self._listener)

    def _accept(self) -> None:
        if self._listener is None:
            return
        while len(self._connections) + len(self._opening) < self._most_connections:
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # No free descriptor or no memory.
                _log.error("Cannot accept connections: %s", error.strerror)
                self._pause()
                self.loop.call_later(_RETRY_SECONDS, self._accept_more)
                return
            task = self.loop.create_task(self._open(accepted))
            self._opening.add(task)
            task.add_done_callback(self._has_opened)
        self._pause()

    def _has_opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._accept_more()

    async def _open(self, accepted: socket.socket) -> None:
        # A client that disconnects, or fails the handshake, is not an error of the service.
        try:
            await self.loop.connect_accepted_socket(
                lambda: Connection(self),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if self._tls else None,
            )
        except OSError:
            with suppress(OSError):
                accepted.close()

    def _check(self) -> None:
        self.date = formatdate(usegmt=True)
        now = self.now()
        for connection in list(self._connections):
            connection.close_if_slow(now)
        if len(self._connections) > self._most_connections * 3 // 4:
            self._shed(now)
        self.loop.call_later(_CHECK_SECONDS, self._check)
