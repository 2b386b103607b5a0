"""The limits of one attempt: its deadline and the size of its response."""

import io
import socket
import ssl
from http.client import HTTPException
from time import monotonic
from typing import Any

# The whole response: interim responses, final headers, and the part of the body that is read.
_MAX_BYTES = 256 * 1024


class Deadline:
    """Expires after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._start = monotonic()
        self._seconds = seconds

    @property
    def elapsed(self) -> float:
        """The elapsed seconds."""
        return monotonic() - self._start

    @property
    def left(self) -> float:
        """The remaining seconds. Raises TimeoutError if there are none."""
        left = self._seconds - self.elapsed
        if left <= 0:
            raise TimeoutError
        return left


class Incoming:
    """Reads one attempt's response from a socket, within a deadline and a size limit.

    Acts as a socket for http.client. A socket's timeout applies to each read, so a response that
    arrives byte by byte would never time out.
    """

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._reader = _TimedReader(connection, deadline)
        self._stream = _Stream(self._reader)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Returns the same stream each time, for several responses in turn."""
        return self._stream

    def has_more(self) -> bool:
        """Whether unread data has arrived. Does not wait."""
        self._reader.waits = False
        try:
            return bool(self._stream.peek(1))
        except (OSError, HTTPException):
            return True


class _Stream(io.BufferedReader):
    def close(self) -> None:
        """Does nothing: http.client calls it after each response, but reads continue."""


class _TimedReader(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self.waits = True
        self._connection = connection
        self._deadline = deadline
        self._bytes_left = _MAX_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._bytes_left <= 0:
            raise HTTPException("The response is too long.")
        self._connection.settimeout(self._deadline.left if self.waits else 0)
        try:
            count = self._connection.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        self._bytes_left -= count
        return count
