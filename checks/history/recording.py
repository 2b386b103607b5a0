"""The history of one user as it happens, also in a file, so that it survives a kill."""

import time
from pathlib import Path
from threading import Lock

import msgspec

from .operations import Operation, Write

_LINES = msgspec.json.Decoder(Operation)


class Recording:
    """Operations of one user, numbered. Each write is recorded as unknown when it starts."""

    def __init__(self, path: Path | None) -> None:
        """`path` names the file that keeps them; None: they are kept in memory only."""
        self._operations: dict[int, Operation] = {}
        self._lock = Lock()
        self._last = 0
        self._file = path.open("ab") if path else None

    def close(self) -> None:
        """Closes the file, which stays."""
        if self._file:
            self._file.close()

    def next_number(self) -> int:
        with self._lock:
            self._last += 1
            return self._last

    def keep(self, operation: Operation) -> None:
        """Adds `operation`, or replaces what is known of it."""
        with self._lock:
            self._operations[operation.number] = operation
            self._last = max(self._last, operation.number)
            if self._file:
                self._file.write(msgspec.json.encode(operation) + b"\n")
                self._file.flush()

    def drop(self, write: Write) -> None:
        """Removes a write that was refused: it changed nothing."""
        with self._lock:
            del self._operations[write.number]
            if self._file:
                self._file.write(b"-%d\n" % write.number)
                self._file.flush()

    def history(self) -> list[Operation]:
        with self._lock:
            return sorted(self._operations.values(), key=lambda one: one.start)

    def read_back(self, path: Path) -> None:
        """Takes what the file at `path` has; a kill may have cut off its last line."""
        for line in path.read_bytes().splitlines():
            if line.startswith(b"-"):
                self._operations.pop(int(line[1:]), None)
                continue
            try:
                operation = _LINES.decode(line)
            except msgspec.DecodeError:
                continue
            self._operations[operation.number] = operation
            self._last = max(self._last, operation.number)


def now() -> int:
    """Nanoseconds of a clock that all processes of this machine share."""
    return time.monotonic_ns()
