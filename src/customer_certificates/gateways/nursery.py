"""The process out of which children are forked: it has all modules loaded, so a fork is enough."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from . import child
from .child import ORDER, Work
from .messages import receive, send

_ORDER_SECONDS = 10
_END_SECONDS = 1
_CODE = "import sys; sys.path[:] = {}; from {} import main; main({}, {!r}, {!r}, {})"


class Nursery:
    """Starts children and ends them. Not for two threads at once."""

    def __init__(
        self, prepare: Callable[[bytes], Work], data: bytes, *, cpu_seconds: float
    ) -> None:
        """`prepare`, a function of a module, is called there with `data` and returns the work.

        Returns once it has, a good part of a second later. Raises OSError or EOFError where the
        process does not start or does not answer, RuntimeError where `prepare` fails.
        """
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(_ORDER_SECONDS)
        module, name = prepare.__module__, prepare.__qualname__
        with theirs:
            code = _CODE.format(
                sys.path, child.__name__, theirs.fileno(), module, name, cpu_seconds
            )
            try:
                self._process = subprocess.Popen(  # noqa: S603 - nobody's words but our own
                    [sys.executable, "-c", code],
                    # The environment holds passwords and keys, which no child needs; what is
                    # installed for this account is found by way of its home.
                    env={"HOME": str(Path.home())},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    # Ctrl-C is for the worker, which has requests to answer before it ends.
                    start_new_session=True,
                )
            except BaseException:
                self._channel.close()
                raise
        try:
            send(self._channel, data)
            failure = receive(self._channel).decode()
            if failure:
                raise RuntimeError(failure)
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
        self._channel.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        # The kernel ends the children of one that had to be killed.
        self._process.kill()
        self._process.wait()

    def _answer(self) -> int:
        answer = self._channel.recv(ORDER.size)
        if not answer:
            raise EOFError
        (number,) = ORDER.unpack(answer)
        return int(number)
