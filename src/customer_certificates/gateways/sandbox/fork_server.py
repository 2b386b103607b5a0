"""The process out of which children are forked: it has all modules loaded, so a fork is enough."""

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
_CODE = "import sys; sys.path[:] = {}; from {} import fork_nurseries; fork_nurseries({}, {!r})"


class ForkServer:
    """Starts children and ends them. Not for two threads at once."""

    def __init__(
        self, prepare: Callable[[bytes], Work], data: bytes, *, cpu_seconds: float
    ) -> None:
        """`prepare`, a function of a module, is called there with `data` and returns the work.

        Returns once it has. Raises OSError or EOFError where the process does not start or does
        not answer, RuntimeError where `prepare` fails.
        """
        self._number = 0
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(_ORDER_SECONDS)
        module, name = prepare.__module__, prepare.__qualname__
        try:
            with theirs:
                _template.fork(theirs, module)
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
        """A new child: its process id, and the pipe to it. Raises OSError or EOFError."""
        pipe, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._channel, [ORDER.pack(0)], [theirs.fileno()])
                number = self._answer()
            if number < 0:
                raise OSError(-number, os.strerror(-number))
        except BaseException:
            pipe.close()
            raise
        return number, pipe

    def end(self, number: int) -> int:
        """Kills the child of that process id, unless it has ended, and returns what it ended with.

        That is its exit code, or the negative number of a signal. Raises OSError or EOFError.
        """
        self._channel.sendall(ORDER.pack(number))
        return self._answer()

    def close(self) -> None:
        """Ends the process and its children."""
        with self._channel, suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
            self._channel.settimeout(_END_SECONDS)
            try:
                # It closes its end when it ends, and has answered nothing that is of use by then.
                while self._channel.recv(ORDER.size):
                    pass
            except TimeoutError:
                # Its end is open, so the process id is still its own. The kernel ends the children.
                if self._number:
                    os.kill(self._number, signal.SIGKILL)

    def _answer(self) -> int:
        answer = self._channel.recv(ORDER.size)
        if not answer:
            raise EOFError
        (number,) = ORDER.unpack(answer)
        return int(number)


class _Template:
    """The process out of which nurseries are forked.

    It is started, not forked, so that nothing of this process is in its memory. That and its
    imports take most of a second. Processes that this one forks use it as well; it ends when none
    of them is left.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, module: str) -> socket.socket:
        """Starts the process, which imports `module`, unless there is one. Raises OSError."""
        with self._lock:
            if self._channel is None:
                self._channel, self._process = _started(module)
            return self._channel

    def fork(self, channel: socket.socket, module: str) -> None:
        """Has a nursery forked that obeys the other end of `channel`. Raises OSError."""
        # One byte with a descriptor is sent as a whole, whichever processes send at once.
        socket.send_fds(self.start(module), [b"1"], [channel.fileno()])

    def forget(self) -> None:
        """Ends the process if this one started it; the next nursery is forked out of another."""
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
    """Starts the process out of which nurseries are forked, with `module` imported, so that all
    processes which this one forks share it. If it cannot be started, each of them tries again."""
    with suppress(OSError):
        _template.start(module)


def _started(module: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    channel, theirs = socket.socketpair()
    channel.settimeout(_ORDER_SECONDS)
    with theirs:
        code = _CODE.format(sys.path, child.__name__, theirs.fileno(), module)
        try:
            process = subprocess.Popen(  # noqa: S603 - nobody's words but our own
                [sys.executable, "-c", code],
                # The environment holds passwords and keys, which no child needs; what is installed
                # for this account is found by way of its home.
                env={"HOME": str(Path.home())},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ctrl-C is for the worker, which has requests to answer before it ends.
                start_new_session=True,
            )
        except BaseException:
            channel.close()
            raise
    return channel, process
