"""HAProxy's runtime socket (management guide, 9.3), to update without a reload."""

import socket
import time
from pathlib import Path
from typing import NamedTuple

_SECONDS = 30
# Parts of HAProxy's responses for a certificate that it cannot load.
_REFUSALS = ("unable to load", "inconsistencies", "must contain at least")
# HAProxy reports its uptime in whole seconds.
_MARGIN_SECONDS = 5.0


class RuntimeFailure(Exception):  # noqa: N818
    """An update failed; the message says why.

    `is_general`: all other updates would fail too. `is_refusal`: HAProxy can never load the
    certificate.
    """

    def __init__(self, message: str, *, is_general: bool = False, is_refusal: bool = False) -> None:
        super().__init__(message)
        self.is_general = is_general
        self.is_refusal = is_refusal


class Process(NamedTuple):
    """A running HAProxy. `started` is in seconds since 1970, at most the actual start."""

    name: str
    started: float


class Runtime:
    """The commands for one crt-list. All commands can be repeated."""

    def __init__(self, address: Path, crt_list: str) -> None:
        """`crt_list` is the path in HAProxy's configuration."""
        self._address = str(address)
        self._crt_list = crt_list
        self._loaded: set[str] = set()

    def process(self) -> Process:
        """Returns the running process. Raises RuntimeFailure."""
        answer = self._ask("show info")
        lines = dict(line.split(": ", 1) for line in answer.splitlines() if ": " in line)
        try:
            started = time.time() - int(lines["Uptime_sec"])
            return Process(lines["Pid"], started - _MARGIN_SECONDS)
        except (KeyError, ValueError):
            detail = f"{self._address} is not a runtime socket of HAProxy: {answer[:200]!r}"
            raise RuntimeFailure(detail, is_general=True) from None

    def loaded(self) -> set[str]:
        """Returns the paths in HAProxy's loaded crt-list. Raises RuntimeFailure."""
        answer = self._ask(f"show ssl crt-list {self._crt_list}")
        if not answer.startswith(f"# {self._crt_list}"):
            raise RuntimeFailure(
                f"HAProxy has not loaded the crt-list {self._crt_list}. Name it in a `bind` line. "
                f"HAProxy responded: {answer.strip()[:200]}",
                is_general=True,
            )
        lines = answer.splitlines()[1:]
        self._loaded = {line.split(" ", 1)[0] for line in lines if line}
        return set(self._loaded)

    def put(self, path: str, pem: str, line: str) -> None:
        """Makes HAProxy serve `pem` as `path`, for the names in `line` of the crt-list.

        Raises RuntimeFailure. HAProxy is then unchanged.
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
            # HAProxy allows one transaction at a time, and an earlier one is still open.
            _, _, other = answer.partition("Transaction updated for certificate ")
            if other:
                self._ask(f"abort ssl cert {other.partition('!')[0]}")
            answer = self._ask(f"set ssl cert {path} <<\n{pem}")
        self._require(f"Transaction created for certificate {path}!", answer, path)
        self._require("Success!", self._ask(f"commit ssl cert {path}"), path)
        if path not in self._loaded:
            answer = self._ask(f"add ssl crt-list {self._crt_list} <<\n{line}\n")
            self._require("Success!", answer, path)
            self._loaded.add(path)

    def drop(self, path: str) -> None:
        """Makes HAProxy stop serving `path`. Raises RuntimeFailure."""
        if path in self._loaded:
            answer = self._ask(f"del ssl crt-list {self._crt_list} {path}")
            self._require("deleted in crtlist", answer, path)
            self._loaded.discard(path)
        # The certificate may exist without a line, or not at all.
        self._ask(f"del ssl cert {path}")

    def _require(self, expected: str, answer: str, path: str) -> None:
        if expected not in answer:
            output = " ".join(answer.split())
            # Other failures concern HAProxy's buffer, or a transaction of another client.
            is_refusal = any(word in output for word in _REFUSALS)
            raise RuntimeFailure(f"HAProxy rejected {path}: {output[:300]}", is_refusal=is_refusal)

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
            if not answer:  # closed without a reset: a complete response has a line break
                raise ConnectionResetError
        except (ConnectionResetError, BrokenPipeError):
            # If HAProxy has stopped, the next command fails too.
            raise RuntimeFailure(
                f"HAProxy did not read all of {command.partition(chr(10))[0]!r}. Increase "
                "tune.bufsize"
            ) from None
        except OSError as error:
            reason = error.strerror or error
            detail = f"HAProxy does not respond at {self._address}: {reason}"
            raise RuntimeFailure(detail, is_general=True) from None
        return answer.decode("utf-8", "replace")
