"""Forks sandbox processes from a template process with all modules loaded."""

import atexit
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock

from . import process as child
from .framing import receive, send
from .process import ORDER, Work

_ORDER_SECONDS = 10
_END_SECONDS = 1
_CODE = (
    "import sys; sys.path[:] = {}; from {} import serve_fork_servers; serve_fork_servers({}, {!r})"
)


class ForkServer:
    """Starts and stops sandbox processes. Not safe for two threads at once."""

    def __init__(
        self, prepare: Callable[[bytes], Work], data: bytes, *, cpu_seconds: float
    ) -> None:
        """Starts the process.

        `prepare`, a function of a module, is called there with `data`, and returns the work
        function. Returns once it has. Raises OSError or EOFError if the process does not start or
        respond, RuntimeError if `prepare` fails.
        """
        self._number = 0
        self._channel, child_end = socket.socketpair()
        self._channel.settimeout(_ORDER_SECONDS)
        module, name = prepare.__module__, prepare.__qualname__
        try:
            with child_end:
                _template.fork(child_end, module)
            send(self._channel, f"{module} {name} {cpu_seconds} ".encode() + data)
            answer = receive(self._channel)
            (self._number,) = ORDER.unpack(answer[: ORDER.size])
            if not self._number:
                raise RuntimeError(answer[ORDER.size :].decode())
        except (OSError, EOFError):
            _template.forget()
            self.close()
            raise
        except BaseException:
            self.close()
            raise

    def start(self) -> tuple[int, socket.socket]:
        """Returns a new child's process ID and the pipe to it. Raises OSError or EOFError."""
        pipe, child_end = socket.socketpair()
        try:
            with child_end:
                socket.send_fds(self._channel, [ORDER.pack(0)], [child_end.fileno()])
                number = self._answer()
            if number < 0:
                raise OSError(-number, os.strerror(-number))
        except BaseException:
            pipe.close()
            raise
        return number, pipe

    def end(self, number: int) -> int:
        """Kills the child with that process ID, and returns its exit status.

        The status is its exit code, or the negative number of a signal. A child that has already
        exited is only reaped. Raises OSError or EOFError.
        """
        self._channel.sendall(ORDER.pack(number))
        return self._answer()

    def close(self) -> None:
        """Stops the process and its children."""
        with self._channel, suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
            self._channel.settimeout(_END_SECONDS)
            try:
                # The process closes its end when it exits, and sends nothing useful before.
                while self._channel.recv(ORDER.size):
                    pass
            except TimeoutError:
                # Its end is open, so the process ID is still its own. The kernel kills the
                # children.
                if self._number:
                    os.kill(self._number, signal.SIGKILL)

    def _answer(self) -> int:
        answer = self._channel.recv(ORDER.size)
        if not answer:
            raise EOFError
        (number,) = ORDER.unpack(answer)
        return int(number)


class _Template:
    """The process that forks a fork server for each worker.

    It is started, not forked, so it has nothing of this process in its memory. Its start and
    imports take most of a second. Processes that this one forks use it as well. It exits when none
    of them is left.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, module: str) -> socket.socket:
        """Starts the process, which imports `module`, unless it runs. Raises OSError."""
        with self._lock:
            if self._channel is None:
                self._channel, self._process = _started(module)
            return self._channel

    def fork(self, channel: socket.socket, module: str) -> None:
        """Forks a fork server that takes orders from the other end of `channel`. Raises OSError."""
        # One byte with a descriptor is sent atomically, even if several processes send at once.
        socket.send_fds(self.start(module), [b"1"], [channel.fileno()])

    def forget(self) -> None:
        """Stops the process if this one started it. The next fork server comes from a new one."""
        with self._lock:
            if self._channel:
                self._channel.close()
            if self._process:
                self._process.kill()
                self._process.wait()
            self._channel = self._process = None


_template = _Template()
atexit.register(_template.forget)


def prepare_to_fork(module: str) -> None:
    """Starts the template process with `module` imported.

    All processes that this one forks share it. If it cannot be started, each of them tries again.
    """
    with suppress(OSError):
        _template.start(module)


def _started(module: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    channel, child_end = socket.socketpair()
    channel.settimeout(_ORDER_SECONDS)
    with child_end:
        code = _CODE.format(sys.path, child.__name__, child_end.fileno(), module)
        try:
            process = subprocess.Popen(  # noqa: S603 - no part of it comes from outside
                [sys.executable, "-c", code],
                # The environment contains passwords and keys, which no child needs. HOME is needed
                # to find packages that are installed for this account.
                env={"HOME": str(Path.home())},
                stdin=subprocess.DEVNULL,
                pass_fds=[child_end.fileno()],
                # Ctrl-C is for the worker, which has requests to finish before it exits.
                start_new_session=True,
            )
        except BaseException:
            channel.close()
            raise
    return channel, process
