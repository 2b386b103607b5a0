"""A pool of sandbox processes, isolated from this one and safe to kill."""

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGKILL, SIGPROF
from time import monotonic
from typing import Literal

from ...errors import Unavailable
from .. import loop
from ..admission.budgets import CpuBudget
from ..admission.limiter import Slots
from .fork_server import ForkServer
from .framing import READ_BYTES, Incoming, framed
from .process import CPU, DONE, OUT_OF_MEMORY, Work

ExitReason = Literal["cpu", "memory", "crash", "timeout", "killed"]

_CPU_SECONDS = 2.0
_CPU_SECONDS_A_MINUTE = 30.0
_WAITING_PER_SLOT = 32
_ANSWER_SECONDS = 10.0
_START_SECONDS = 10.0
_RETRY_SECONDS = 1.0
# To start or stop a child takes milliseconds.
_THREADS = loop.Threads("sandbox", 2)

_log = logging.getLogger(__name__)


class ResourceLimitExceeded(Exception):  # noqa: N818 - the request is the cause
    """The request exceeded the limits of its child.

    It used 2 s of CPU time, or two children exceeded their memory or crashed.
    """


@dataclass(frozen=True, slots=True, eq=False)
class _Child:
    fork_server: ForkServer
    number: int
    pipe: socket.socket


class SandboxPool:
    """Idle processes, each for one request at a time, which may be killed.

    A child has 2 s of CPU time for each request and 256 MiB of address space. It has no
    environment, and can open no file and no socket. It exits with this process, even if this
    process is killed.
    """

    def __init__(
        self,
        prepare: Callable[[bytes], Work],
        data: bytes,
        *,
        size: int,
        on_exit: Callable[[ExitReason], None],
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts `size` children in the background.

        As many requests run at once, and half as many of one tenant. Others wait for at most five
        seconds. A tenant has 30 s of CPU time a minute. `on_refusal` is called for each request
        that is rejected because of these limits.

        `prepare`, a function at the top of a module, is called with `data` once before children are
        forked. It returns the work function, which each child calls with a request. It must load
        everything that the work needs, as children can open nothing. `on_exit` is called for each
        child that ended.
        """
        self._prepare = prepare
        self._data = data
        self._on_exit = on_exit
        self._fork_server: ForkServer | None = None
        # The last used child is the next: its memory is warm.
        self._idle: list[_Child] = []
        self._slots = Slots(size, on_refusal, waiting_per_slot=_WAITING_PER_SLOT)
        self._budget = CpuBudget(_CPU_SECONDS_A_MINUTE, on_refusal)
        self._spawn_lock = threading.Lock()
        self._missing = size
        self._not_before = 0.0
        self._closed = False
        self._started: Future[None] = Future()
        threading.Thread(target=self._start_all, name="sandbox", daemon=True).start()

    def run(self, request: bytes) -> bytes:
        """Returns the result of the work on `request`.

        Raises ResourceLimitExceeded if the request exceeded the limits of its process. Raises
        TooManyRequests if the tenant has too many requests here or used too much CPU time. Raises
        Unavailable if no child is free, or two died for other reasons, or after 10 s. Raises
        RuntimeError if the work raised an exception: it has the location, but not the message.
        """
        if self._has_started():
            with self._slots.hold():
                self._budget.require()
                for is_last in (False, True):
                    self._start_missing()
                    # Each slot has a child, unless it could not be started.
                    if not self._idle:
                        break
                    answer = self._send(self._idle.pop(), request, is_last)
                    if answer is not None:
                        return answer
        raise Unavailable(
            "Certificates cannot be validated now. Retry after the delay in Retry-After.",
            retry_after=1,
        )

    def close(self) -> None:
        """Kills all children. Requests in progress raise Unavailable."""
        with self._spawn_lock:
            self._closed = True
            if self._fork_server:
                self._fork_server.close()
        while self._idle:
            self._idle.pop().pipe.close()

    def _has_started(self) -> bool:
        with suppress(TimeoutError):
            loop.result(self._started, _START_SECONDS)
        return self._started.done()

    def _send(self, child: _Child, request: bytes, is_last: bool) -> bytes | None:
        """Returns the answer.

        Returns None if the child died and the request may not be the cause.
        """
        try:
            answer = _exchange(child.pipe, request)
        except TimeoutError:
            # Not because of its CPU limit, which kills it. The machine is busy, or the child was
            # stopped.
            self._replace(child, "timeout")
            raise Unavailable(
                "The validation took too long. Retry after the delay in Retry-After.", retry_after=1
            ) from None
        except (OSError, EOFError):
            reason = self._replace(child)
            # An earlier request may have fragmented or exhausted the memory.
            if reason == "cpu" or (is_last and reason in ("memory", "crash")):
                self._budget.spend(_CPU_SECONDS)
                raise ResourceLimitExceeded(reason) from None
            return None
        except BaseException:
            self._replace(child, "killed")
            raise
        self._idle.append(child)
        (microseconds,), answer = CPU.unpack(answer[: CPU.size]), answer[CPU.size :]
        self._budget.spend(min(microseconds / 1e6, _CPU_SECONDS))
        if answer[:1] == DONE:
            return answer[1:]
        raise RuntimeError(f"In a sandbox process: {answer[1:].decode()}")

    def _replace(self, child: _Child, reason: ExitReason | None = None) -> ExitReason:
        """Replaces a child. The request waits for that, as it has failed anyway."""
        return _THREADS.run(self._replace_now, child, reason)

    def _replace_now(self, child: _Child, reason: ExitReason | None) -> ExitReason:
        child.pipe.close()
        with self._spawn_lock:
            status = self._end(child)
            reason = reason or _exit_reason(status)
            if not self._closed:
                self._on_exit(reason)
                _log.warning("A sandbox process ended and is replaced: %s", reason)
            self._missing += 1
            self._fill()
        return reason

    def _end(self, child: _Child) -> int:
        try:
            return child.fork_server.end(child.number)
        except (OSError, EOFError):
            # The fork server has exited, and its children with it.
            self._forget(child.fork_server)
            return -SIGKILL

    def _start_all(self) -> None:
        with self._spawn_lock:
            self._fill()
        self._started.set_result(None)

    def _start_missing(self) -> None:
        """Retries with one request in a second, if children could not be started."""
        if self._missing and monotonic() >= self._not_before:
            _THREADS.run(self._fill_if_unlocked)

    def _fill_if_unlocked(self) -> None:
        if self._spawn_lock.acquire(False):
            try:
                self._fill()
            finally:
                self._spawn_lock.release()

    def _fill(self) -> None:
        """Starts the missing children. The caller holds the spawn lock."""
        try:
            while self._missing and not self._closed:
                self._idle.append(self._start())
                self._missing -= 1
        except (OSError, EOFError, RuntimeError) as error:
            self._not_before = monotonic() + _RETRY_SECONDS
            _log.error("No sandbox process can be started: %s", error or "it exits at once")

    def _start(self) -> _Child:
        try:
            return self._fork()
        except (OSError, EOFError):
            # The fork server, or the template process, was killed.
            return self._fork()

    def _fork(self) -> _Child:
        if self._fork_server is None:
            self._fork_server = ForkServer(self._prepare, self._data, cpu_seconds=_CPU_SECONDS)
        fork_server = self._fork_server
        try:
            number, pipe = fork_server.start()
        except (OSError, EOFError):
            self._forget(fork_server)
            raise
        pipe.setblocking(False)
        return _Child(fork_server, number, pipe)

    def _forget(self, fork_server: ForkServer) -> None:
        fork_server.close()
        if self._fork_server is fork_server:
            self._fork_server = None


def _exchange(pipe: socket.socket, request: bytes) -> bytes:
    """Returns the answer to `request`. Raises TimeoutError, OSError or EOFError."""
    until = monotonic() + _ANSWER_SECONDS
    unsent = memoryview(framed(request))
    while unsent:
        try:
            unsent = unsent[pipe.send(unsent) :]
        except BlockingIOError:
            _wait(pipe, until, write=True)
    incoming = Incoming()
    while True:
        try:
            message = incoming.add(pipe.recv(READ_BYTES))
        except BlockingIOError:
            _wait(pipe, until)
        else:
            if message is not None:
                return message


def _wait(pipe: socket.socket, until: float, *, write: bool = False) -> None:
    left = max(0.0, until - monotonic())
    if not any(loop.until_ready(pipe.fileno(), read=not write, write=write, seconds=left)):
        raise TimeoutError


def _exit_reason(status: int) -> ExitReason:
    if status == -SIGPROF:
        return "cpu"
    if status == OUT_OF_MEMORY:
        return "memory"
    # The child causes the other signals itself. SIGKILL comes from outside.
    return "crash" if status < 0 and status != -SIGKILL else "killed"
