"""Writes the request log: JSON, or text on a terminal."""

import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from threading import Event, Lock, Thread
from typing import TextIO

import msgspec

_FLUSH_SECONDS = 0.05
# Eight lines fit in 4 KiB, which a pipe writes atomically: processes that share it do not mix.
_LINES_A_WRITE = 8
_MAX_PENDING = 10_000
_log = logging.getLogger(__name__)


class RequestLine(msgspec.Struct, tag_field="event", tag="request", omit_defaults=True):
    """One line of the request log.

    It has no path, query, other header or body: they may contain secrets. `traceparent` is the span
    of the request in the client's trace, if the client sent one.
    """

    time: datetime
    method: str
    route: str
    status: int
    ms: float
    request_id: str
    peer: str
    user_id: int | None = None
    traceparent: str | None = None


class RequestLines:
    """Buffers lines for at most 50 ms, and writes them in a separate thread.

    A system call for each line would release the interpreter's lock, and cost a fifth of all reads.
    A killed process loses its last 50 ms of lines; one that exits does not.
    """

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._descriptor = stream.fileno()
        self._encode: Callable[[list[RequestLine]], bytes] = (
            _as_text if stream.isatty() else msgspec.json.Encoder().encode_lines
        )
        self._pending: deque[RequestLine] = deque()
        self._dropped = 0
        self._writing = Lock()
        self._closing = Event()
        Thread(target=self._run, name="request-log", daemon=True).start()

    def write(self, line: RequestLine) -> None:
        """Queues `line`, or drops it if the log is not read."""
        if len(self._pending) < _MAX_PENDING:
            self._pending.append(line)
        else:
            self._dropped += 1

    def close(self) -> None:
        """Writes the remaining lines."""
        self._closing.set()
        self._flush()

    def _run(self) -> None:
        while not self._closing.wait(_FLUSH_SECONDS):
            self._flush()

    def _flush(self) -> None:
        with self._writing:
            while self._pending:
                count = min(len(self._pending), _LINES_A_WRITE)
                unwritten = self._encode([self._pending.popleft() for _ in range(count)])
                # If lines cannot be written (a full disk), requests are still served.
                with suppress(OSError):
                    while unwritten:
                        unwritten = unwritten[os.write(self._descriptor, unwritten) :]
            if self._dropped:
                _log.warning(
                    "%d request log lines were dropped: the reader was too slow", self._dropped
                )
                self._dropped = 0


def _as_text(lines: list[RequestLine]) -> bytes:
    return "".join(_as_line(line) for line in lines).encode()


def _as_line(line: RequestLine) -> str:
    user = f"  user {line.user_id}" if line.user_id else ""
    return (
        f"{line.time:%H:%M:%S}Z  {line.status}  {line.method:6} {line.route}  {line.ms} ms  "
        f"{line.peer}{user}  {line.request_id}\n"
    )
