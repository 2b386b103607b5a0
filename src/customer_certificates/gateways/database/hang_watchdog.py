"""Closes connections of a hung database, so that no request exceeds a deadline."""

import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

_CHECK_SECONDS = 0.5


class HangWatchdog:
    """Closes connections on which a request has waited too long.

    A stopped server, or a network that drops packets, leaves its connections open. Neither
    statement_timeout (the server enforces it) nor TCP (the kernel still acknowledges) ends the
    wait. Once a connection was closed, the database counts as hung until `is_responding` returns
    True.
    """

    def __init__(
        self, deadline: float, on_hang: Callable[[], None], is_responding: Callable[[], bool]
    ) -> None:
        """Starts the watchdog.

        `deadline` is in seconds. `on_hang` is called after a connection was closed. From then on
        `is_responding`, which tries a separate connection, is called until it returns True.
        """
        self._deadline = deadline
        self._on_hang = on_hang
        self._is_responding = is_responding
        self._waiting: dict[object, tuple[float, int]] = {}
        self._closing = threading.Event()
        self.is_hung = False
        threading.Thread(target=self._run, name="database-watch", daemon=True).start()

    def begin(self, connection: object, descriptor: int | None) -> None:
        """Starts to watch `connection`, on which a request waits.

        `descriptor` is its socket, if it has one.
        """
        if descriptor is not None:
            self._waiting[connection] = monotonic(), descriptor

    def end(self, connection: object) -> None:
        """Stops watching the connection."""
        self._waiting.pop(connection, None)

    def close(self) -> None:
        """Stops the watchdog."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(_CHECK_SECONDS):
            late = monotonic() - self._deadline
            for connection, entry in list(self._waiting.items()):
                since, descriptor = entry
                if since < late and self._waiting.get(connection) is entry:
                    self.end(connection)
                    self.is_hung = True
                    _shut_down(descriptor)
                    self._on_hang()
            if self.is_hung and self._is_responding():
                self.is_hung = False


def has_ended(descriptor: int | None) -> bool:
    """Whether the server has closed an idle connection. The end of the stream is then readable."""
    if descriptor is None:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _shut_down(descriptor: int) -> None:
    """Shuts down both directions, so that a waiting reader sees the end."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
