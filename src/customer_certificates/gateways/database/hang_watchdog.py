"""Keeps a database that hangs from holding every request: nobody waits longer than a deadline."""

import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

_LOOK_SECONDS = 0.5


class HangWatchdog:
    """Cuts connections on which a request has waited too long, and says when it is worth asking.

    A server that is stopped, or behind a network that swallows packets, leaves its connections
    open: neither statement_timeout (it is the server's) nor TCP (the kernel still answers) ends
    the wait. Once a connection was cut, `hangs` is true until `answers` is.
    """

    def __init__(
        self, deadline: float, on_hang: Callable[[], None], answers: Callable[[], bool]
    ) -> None:
        """`deadline` is in seconds; `on_hang` is called once a connection was cut, `answers` from
        then on until it is true: it tries a connection of its own."""
        self._deadline = deadline
        self._on_hang = on_hang
        self._answers = answers
        self._busy: dict[object, tuple[float, int]] = {}
        self._closing = threading.Event()
        self.is_hung = False
        threading.Thread(target=self._run, name="database-watch", daemon=True).start()

    def begin(self, connection: object, descriptor: int | None) -> None:
        """A request begins to wait on `connection`, whose socket is `descriptor`, if it has one."""
        if descriptor is not None:
            self._busy[connection] = monotonic(), descriptor

    def end(self, connection: object) -> None:
        """It waits no more."""
        self._busy.pop(connection, None)

    def close(self) -> None:
        """Ends the watch."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            late = monotonic() - self._deadline
            for connection, entry in list(self._busy.items()):
                since, descriptor = entry
                if since < late and self._busy.get(connection) is entry:
                    self.end(connection)
                    self.is_hung = True
                    _cut(descriptor)
                    self._on_hang()
            if self.is_hung and self._answers():
                self.is_hung = False


def has_ended(descriptor: int | None) -> bool:
    """Whether the other side has closed a connection that lay idle: there is its end to read."""
    if descriptor is None:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _cut(descriptor: int) -> None:
    """Ends both directions, so that whoever waits for the other side sees the end of it."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
