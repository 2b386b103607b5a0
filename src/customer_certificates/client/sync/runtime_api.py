"""HAProxy's runtime socket (its management guide, 9.3): certificates without a reload."""

import socket
import time
from pathlib import Path
from typing import NamedTuple

_SECONDS = 30
# What HAProxy says of a certificate that it cannot load.
_REFUSALS = ("unable to load", "inconsistencies", "must contain at least")
# Of a process's start, which HAProxy gives in whole seconds.
_MARGIN_SECONDS = 5.0


class RuntimeFailure(Exception):  # noqa: N818
    """HAProxy was not told; the message says why.

    `is_general`: nothing else can be told either. `is_refusal`: HAProxy cannot load the
    certificate, and never will.
    """

    def __init__(self, message: str, *, is_general: bool = False, is_refusal: bool = False) -> None:
        super().__init__(message)
        self.is_general = is_general
        self.is_refusal = is_refusal


class Process(NamedTuple):
    """A running HAProxy; `started` is in seconds since 1970, or a little earlier."""

    name: str
    started: float


class Runtime:
    """The commands for one crt-list. All may be repeated."""

    def __init__(self, address: Path, crt_list: str) -> None:
        """`crt_list` is the path by which HAProxy's configuration names it."""
        self._address = str(address)
        self._crt_list = crt_list
        self._loaded: set[str] = set()

    def process(self) -> Process:
        """Which HAProxy it is. Raises RuntimeFailure."""
        answer = self._ask("show info")
        lines = dict(line.split(": ", 1) for line in answer.splitlines() if ": " in line)
        try:
            started = time.time() - int(lines["Uptime_sec"])
            return Process(lines["Pid"], started - _MARGIN_SECONDS)
        except (KeyError, ValueError):
            raise RuntimeFailure(
                f"{self._address} is not a runtime socket of HAProxy: {answer[:200]!r}",
                is_general=True,
            ) from None

    def loaded(self) -> set[str]:
        """The paths in the crt-list as HAProxy has it. Raises RuntimeFailure."""
        answer = self._ask(f"show ssl crt-list {self._crt_list}")
        if not answer.startswith(f"# {self._crt_list}"):
            raise RuntimeFailure(
                f"HAProxy has no crt-list {self._crt_list}: no `bind` names it. It says: "
                f"{answer.strip()[:200]}",
                is_general=True,
            )
        lines = answer.splitlines()[1:]
        self._loaded = {line.split(" ", 1)[0] for line in lines if line}
        return set(self._loaded)

    def put(self, path: str, pem: str, line: str) -> None:
        """Has `pem` served as `path`, for the names in `line` of the crt-list.

        Raises RuntimeFailure; then HAProxy has nothing of it that it did not have before.
        """
        try:
            self._put(path, pem, line)
        except RuntimeFailure as failure:
            if not failure.is_general:
                self._ask(f"abort ssl cert {path}")
                if path not in self._loaded:
                    self._ask(f"del ssl cert {path}")
            raise

    def _put(self, path: str, pem: str, line: str) -> None:
        self._ask(f"new ssl cert {path}")
        answer = self._ask(f"set ssl cert {path} <<\n{pem}")
        if f"Transaction created for certificate {path}!" not in answer:
            # One transaction is all that HAProxy has: somebody left one open.
            self._abort(answer)
            answer = self._ask(f"set ssl cert {path} <<\n{pem}")
        self._require(f"Transaction created for certificate {path}!", answer, path)
        self._require("Success!", self._ask(f"commit ssl cert {path}"), path)
        if path not in self._loaded:
            answer = self._ask(f"add ssl crt-list {self._crt_list} <<\n{line}\n")
            self._require("Success!", answer, path)
            self._loaded.add(path)

    def drop(self, path: str) -> None:
        """Has `path` served no more. Raises RuntimeFailure."""
        if path in self._loaded:
            answer = self._ask(f"del ssl crt-list {self._crt_list} {path}")
            self._require("deleted in crtlist", answer, path)
            self._loaded.discard(path)
        # It may have been there without a line, or not at all.
        self._ask(f"del ssl cert {path}")

    def _abort(self, answer: str) -> None:
        """Ends the transaction that `answer` names."""
        _, _, named = answer.partition("Transaction updated for certificate ")
        if named:
            self._ask(f"abort ssl cert {named.partition('!')[0]}")

    def _require(self, expected: str, answer: str, path: str) -> None:
        if expected not in answer:
            said = " ".join(answer.split())
            # The others are about HAProxy's buffer, or a transaction that somebody else began.
            is_refusal = any(word in said for word in _REFUSALS)
            raise RuntimeFailure(f"HAProxy rejected {path}: {said[:300]}", is_refusal=is_refusal)

    def _ask(self, command: str) -> str:
        """Returns HAProxy's response to one command, which may have a payload."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_SECONDS)
                connection.connect(self._address)
                connection.sendall(f"{command}\n".encode())
                answer = b""
                while part := connection.recv(1 << 16):
                    answer += part
            if not answer:  # closed, but not reset: HAProxy ends every answer with a line break
                raise ConnectionResetError
        except (ConnectionResetError, BrokenPipeError):
            # The next command fails too if it is HAProxy that ended.
            raise RuntimeFailure(
                f"HAProxy does not read all of {command.partition(chr(10))[0]!r}: "
                "raise its tune.bufsize"
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise RuntimeFailure(
                f"HAProxy does not respond at {self._address}: {reason}", is_general=True
            ) from None
        return answer.decode("utf-8", "replace")
