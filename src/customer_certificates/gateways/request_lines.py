"""Where the lines of the request log go: JSON for machines, words for a person at a terminal."""

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
# Eight lines are less than 4 KiB, which a pipe takes whole: processes that share it do not mix.
_LINES_A_WRITE = 8
_MOST_PENDING = 10_000
_log = logging.getLogger(__name__)


class RequestLine(msgspec.Struct, tag_field="event", tag="request", omit_defaults=True):
    """What is logged of a request. Never a path, a query, another header or a body: they hold
    secrets. `traceparent` is the span of the request in the trace of the client, if it sent one."""

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
    """Keeps lines for 50 ms at most and writes them together, in a thread of its own.

    A system call for each line, and the interpreter's lock given up for it, cost a fifth of all
    reads. A process that is killed takes its last 50 ms of lines with it; one that ends does not.
    """

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._descriptor = stream.fileno()
        self._encode: Callable[[list[RequestLine]], bytes] = (
            _words if stream.isatty() else msgspec.json.Encoder().encode_lines
        )
        self._pending: deque[RequestLine] = deque()
        self._dropped = 0
        self._writing = Lock()
        self._closing = Event()
        Thread(target=self._run, name="request-log", daemon=True).start()

    def write(self, line: RequestLine) -> None:
        """Has `line` written soon, or drops it where nobody reads what is written."""
        if len(self._pending) < _MOST_PENDING:
            self._pending.append(line)
        else:
            self._dropped += 1

    def close(self) -> None:
        """Writes what is left."""
        self._closing.set()
        self._flush()

    def _run(self) -> None:
        while not self._closing.wait(_FLUSH_SECONDS):
            self._flush()

    def _flush(self) -> None:
        with self._writing:
            while self._pending:
                count = min(len(self._pending), _LINES_A_WRITE)
                rest = self._encode([self._pending.popleft() for _ in range(count)])
                # Where lines cannot be written (a full disk), requests are served all the same.
                with suppress(OSError):
                    while rest:
                        rest = rest[os.write(self._descriptor, rest) :]
            if self._dropped:
                _log.warning(
                    "%d request log lines were dropped: the reader was too slow", self._dropped
                )
                self._dropped = 0


def _words(lines: list[RequestLine]) -> bytes:
    return "".join(_in_words(line) for line in lines).encode()


def _in_words(line: RequestLine) -> str:
    user = f"  user {line.user_id}" if line.user_id else ""
    return (
        f"{line.time:%H:%M:%S}Z  {line.status}  {line.method:6} {line.route}"
        f"  {line.ms} ms  {line.peer}{user}  {line.request_id}\n"
    )
