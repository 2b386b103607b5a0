"""A process that the supervisor has forked."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Never

# The supervisor handles these. A forked process starts with them blocked.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_PR_SET_NAME = 15


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A running or ended process, which started at the time `started` of the monotonic clock.

    `ready` is the pipe that signals readiness. None: the process is ready, or has ended.
    """

    pid: int
    ready: int | None
    started: float
    _has_ended: bool = field(default=False, init=False)

    def is_ready(self) -> bool:
        """Whether the process has reported that it is ready."""
        if self.ready is not None:
            try:
                report = os.read(self.ready, 1)
            except BlockingIOError:
                return False
            if not report:
                return False
            self._close_pipe()
        return True

    def has_ended(self) -> bool:
        """Whether the process has ended. Reaps it."""
        if not self._has_ended and os.waitpid(self.pid, os.WNOHANG)[0]:
            self._has_ended = True
            self._close_pipe()
        return self._has_ended

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process, unless it has ended."""
        # The kernel may have reassigned the ID of an exited process.
        if not self.has_ended():
            os.kill(self.pid, number)

    def _close_pipe(self) -> None:
        if self.ready is not None:
            os.close(self.ready)
            self.ready = None


def fork(name: str, run: Callable[[], None]) -> int:
    """Forks a process for `run`, which `ps -o comm` shows as `name`, and returns its ID.

    There each signal has its default action, except SIGHUP, which is ignored. All signals are
    blocked until `run` unblocks them.
    """
    # An early signal stays pending until the process has its own handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
        if not pid:
            _run_and_exit(name, run)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def report_ready(pipe: int) -> None:
    """Reports to the main process that this one is ready."""
    # The main process may have given up, or exited.
    with suppress(OSError):
        os.write(pipe, b"1")
        os.close(pipe)


def _run_and_exit(name: str, run: Callable[[], None]) -> Never:
    code = 1
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
