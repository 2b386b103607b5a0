"""One span of time for all that an attempt consists of."""

import io
import socket
from time import monotonic
from typing import Any


class Deadline:
    """Ends `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self._begin = monotonic()
        self._seconds = seconds

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return monotonic() - self._begin

    @property
    def left(self) -> float:
        """Seconds until the end. Raises TimeoutError where there are none."""
        left = self._seconds - self.spent
        if left <= 0:
            raise TimeoutError
        return left


class TimedSocket:
    """A connected socket as http.client reads it, until a deadline: the time-out of a socket alone
    is for each part, and an answer that drips in would keep all of them."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What it reads from; closing it leaves the socket open."""
        return io.BufferedReader(_TimedReader(self._connection, self._deadline))


class _TimedReader(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.left)
        return self._connection.recv_into(buffer)
