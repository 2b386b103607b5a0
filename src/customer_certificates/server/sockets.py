"""The listening sockets of the workers."""

import socket
import sys

from ..errors import StartError

# The kernel closes a connection if the client reads nothing of a response for this long.
_UNREAD_SECONDS = 30
# The kernel buffers this much of a response that a client does not read.
_SEND_BUFFER_BYTES = 128 * 1024
_BACKLOG = 1024


class ListenError(StartError):
    """The address cannot be used. The message names the variable to change."""


def listen(host: str, port: int, workers: int) -> list[socket.socket]:
    """Returns a listening socket for each worker.

    Only Linux distributes connections among several sockets; elsewhere all workers share one.
    """
    if sys.platform != "linux":
        return [_listener(host, port)] * workers
    return [_listener(host, port) for _ in range(workers)]


def require_free(host: str, port: int, variables: str) -> None:
    """Raises ListenError if the address is in use, also by another instance of the service."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ListenError(
                f"Cannot listen on {host} port {port}: {error.strerror}. Choose another address "
                f"with {variables}."
            ) from None


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(_family(host))
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit these options.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if sys.platform == "linux":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            unread = _UNREAD_SECONDS * 1000
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
