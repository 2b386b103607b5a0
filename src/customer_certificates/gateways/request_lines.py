"""Where the lines of the request log go: JSON for machines, words for a person at a terminal."""

import os
import sys
from datetime import UTC, datetime
from typing import TextIO

import msgspec


class RequestLine(msgspec.Struct, omit_defaults=True):
    """What is told of a request. Never a path, a query, a header or a body: they hold secrets."""

    method: str
    route: str
    status: int
    ms: float
    request_id: str
    peer: str
    user_id: int | None = None


class RequestLines:
    """Writes each line with one system call, so that processes sharing a file do not mix them."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._descriptor = stream.fileno()
        self._encode = msgspec.json.Encoder().encode
        self.write = self._write_words if stream.isatty() else self._write_json

    def _write_json(self, line: RequestLine) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        start = b'{"time":"%b","event":"request",' % time.encode()
        os.write(self._descriptor, start + self._encode(line)[1:] + b"\n")

    def _write_words(self, line: RequestLine) -> None:
        user = f"  user {line.user_id}" if line.user_id else ""
        os.write(
            self._descriptor,
            f"{datetime.now(UTC):%H:%M:%S}Z  {line.status}  {line.method:6} {line.route}"
            f"  {line.ms} ms  {line.peer}{user}  {line.request_id}\n".encode(),
        )
