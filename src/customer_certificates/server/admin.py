"""A small HTTP server for monitoring, separate from the one for clients."""

import socket
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

_SECONDS = 10


class AdminServer:
    """Serves a WSGI application in separate threads until it is closed.

    All workers listen on the address, and the kernel assigns each connection to one of them. So one
    running worker is enough for a response.
    """

    def __init__(self, host: str, port: int, app: Callable[..., Iterable[bytes]]) -> None:
        self._server = _Server((host, port), _Handler)
        self._server.set_app(app)
        Thread(target=self._server.serve_forever, name="admin", daemon=True).start()

    def close(self) -> None:
        """Closes the server without waiting for requests in progress."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # The library's version asks the resolver for this machine's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that disconnect."""


class _Handler(WSGIRequestHandler):
    timeout = _SECONDS

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Logs nothing: the application logs its requests."""
