"""The supervisor: starts workers, replaces failed ones, and reloads all of them.

It also keeps one background process running, which serves no requests.
"""

import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Never

from ..gateways.signals import SignalSafeEvent
from ..terminal import say

# The kernel closes a connection if the client reads nothing of a response for this long.
_UNREAD_SECONDS = 30
# The kernel buffers this much of a response that a client does not read.
_SEND_BUFFER_BYTES = 128 * 1024
_BACKLOG = 1024
_START_SECONDS = 60
_LOOK_SECONDS = 0.1
_AGAIN_SECONDS = 1
# A drained worker has this long to close its other resources.
_GRACE_SECONDS = 5
# The background process has this long to finish deliveries in progress.
_BACKGROUND_END_SECONDS = 25
_PR_SET_NAME = 15
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

# Serves on the socket, and calls the function once it is ready. Returns after SIGTERM, or after
# SIGUSR1 once its clients have disconnected.
Work = Callable[[socket.socket, Callable[[], None]], None]


@dataclass(slots=True, eq=False)
class _Worker:
    pid: int
    ready: int | None
    """The pipe that signals readiness; None once the worker is ready."""
    started: float
    has_ended: bool = False


class Supervisor:
    """Supervises a fixed number of workers.

    Each worker's listening socket belongs to the main process and outlives the worker. Its
    successor accepts the connections that are still waiting.

    A reload (SIGHUP) starts new workers. Once all of them are ready, the old ones drain. If the new
    ones do not become ready, the old ones keep serving.
    """

    def __init__(
        self,
        work: Work,
        *,
        workers: int,
        drain_seconds: float,
        background: Callable[[], object] | None = None,
    ) -> None:
        """Creates the supervisor.

        `background` runs in a separate process. The supervisor restarts it if it ends, and sends it
        SIGTERM after all workers have ended.
        """
        self._work = work
        self._background = background
        self._places = workers
        self._drain_seconds = drain_seconds
        self._alarm = SignalSafeEvent()
        self._is_ending = self._is_to_reload = False
        self._listeners: list[socket.socket] = []
        self._serving: dict[int, _Worker] = {}
        self._fresh: dict[int, _Worker] = {}
        self._leaving: list[_Worker] = []
        self._fresh_until = 0.0
        self._again: dict[int, float] = {}
        self._beside: _Worker | None = None
        self._on_startup: list[Callable[[], None]] = []
        self._on_reload: list[Callable[[], None]] = []
        # A worker has all descriptors that are open when it is forked: a pipe to another process
        # would stay open for as long as the worker lives.
        self.forking = Lock()

    def on_startup(self, call: Callable[[], None]) -> None:
        """Calls `call` after the workers have started."""
        self._on_startup.append(call)

    def on_reload(self, call: Callable[[], None]) -> None:
        """Calls `call` before each reload."""
        self._on_reload.append(call)

    def reload(self, *_: object) -> None:
        """Replaces all workers. Any thread may call this."""
        self._is_to_reload = True
        self._alarm.set()

    def serve(self, host: str, port: int) -> None:
        """Serves until SIGTERM or SIGINT, then waits for the workers.

        Raises OSError if the address cannot be listened on.
        """
        self._listeners = _listen(host, port, self._places)
        before = [signal.signal(number, self._handle) for number in _SIGNALS]
        try:
            for place in range(self._places):
                self._serving[place] = self._start(place)
            self._start_beside()
            for call in self._on_startup:
                call()
            while not self._is_ending:
                self._look()
                is_waiting = self._fresh or self._again or (self._beside and self._beside.has_ended)
                self._alarm.wait(_LOOK_SECONDS if is_waiting else None)
                self._alarm.clear()
        finally:
            self._end()
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self._is_to_reload = True
        elif number != signal.SIGCHLD:
            self._is_ending = True
        self._alarm.set()

    def _look(self) -> None:
        if self._is_to_reload and not self._fresh and not self._leaving:
            self._is_to_reload = False
            self._begin_reload()
        self._leaving = [worker for worker in self._leaving if not _has_ended(worker)]
        self._look_at_fresh()
        for place, worker in list(self._serving.items()):
            if _has_ended(worker):
                say("a worker ended unexpectedly. Starting another one.")
                del self._serving[place]
                # Wait before a restart if the worker ended quickly.
                self._again[place] = worker.started + _AGAIN_SECONDS
        for place, since in list(self._again.items()):
            if since <= monotonic():
                del self._again[place]
                self._serving[place] = self._start(place)
        beside = self._beside
        if beside and _has_ended(beside) and beside.started + _AGAIN_SECONDS <= monotonic():
            self._start_beside()

    def _begin_reload(self) -> None:
        for call in self._on_reload:
            call()
        self._fresh = {place: self._start(place) for place in range(self._places)}
        self._fresh_until = monotonic() + _START_SECONDS

    def _look_at_fresh(self) -> None:
        """Lets the new workers take over once all are ready."""
        fresh = list(self._fresh.values())
        if not fresh:
            return
        if monotonic() > self._fresh_until or any(_has_ended(worker) for worker in fresh):
            say("the new workers did not start. The old ones keep serving.")
            self._fresh = {}
            _tell(fresh, signal.SIGKILL)
            self._leaving = fresh
        elif all(_is_ready(worker) for worker in fresh):
            self._leaving = list(self._serving.values())
            self._serving, self._fresh = self._fresh, dict[int, _Worker]()
            self._again = {}
            _tell(self._leaving, signal.SIGUSR1)

    def _start(self, place: int) -> _Worker:
        ready, tell = os.pipe()
        os.set_blocking(ready, False)

        def work() -> None:
            os.close(ready)
            own = self._listeners[place]
            for listener in self._listeners:
                # Otherwise connections would wait for a worker that does not accept them.
                if listener is not own:
                    listener.close()
            self._work(own, lambda: _tell_ready(tell))

        pid = self._fork("cc-worker", work)
        os.close(tell)
        return _Worker(pid, ready, monotonic())

    def _start_beside(self) -> None:
        background = self._background
        if not background:
            return

        def run() -> None:
            for listener in self._listeners:
                listener.close()
            # No work has begun yet, so a signal interrupts nothing.
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            background()

        self._beside = _Worker(self._fork("cc-background", run), None, monotonic())

    def _fork(self, name: str, run: Callable[[], None]) -> int:
        """Forks a process for `run`, which `ps -o comm` shows as `name`.

        There each signal has its default action, except SIGHUP, which is ignored. All signals are
        blocked until `run` unblocks them.
        """
        sys.stdout.flush()
        with self.forking:
            # An early signal stays pending until the process has its own handlers.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                pid = os.fork()
                if not pid:
                    _run_and_exit(name, run)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _end(self) -> None:
        """Stops all workers. Each finishes its requests in progress first."""
        for listener in self._listeners:
            listener.close()
        workers = [*self._serving.values(), *self._fresh.values(), *self._leaving]
        self._end_all(workers, self._drain_seconds + _GRACE_SECONDS)
        self._end_all([self._beside] if self._beside else [], _BACKGROUND_END_SECONDS)

    def _end_all(self, processes: list[_Worker], seconds: float) -> None:
        _tell(processes, signal.SIGTERM)
        until = monotonic() + seconds
        while processes := [process for process in processes if not _has_ended(process)]:
            if monotonic() > until:
                _tell(processes, signal.SIGKILL)
            self._alarm.wait(_LOOK_SECONDS)
            self._alarm.clear()


def _run_and_exit(name: str, run: Callable[[], None]) -> Never:
    code = 1
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())
        for number in _SIGNALS:
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


def _listen(host: str, port: int, places: int) -> list[socket.socket]:
    """Returns a listening socket for each worker.

    Only Linux distributes connections among several sockets; elsewhere all workers share one.
    """
    if sys.platform != "linux":
        return [_listener(host, port)] * places
    return [_listener(host, port) for _ in range(places)]


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit these options.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if sys.platform == "linux":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            unread = _UNREAD_SECONDS * 1000
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _tell_ready(tell: int) -> None:
    # The main process may have given up, or exited.
    with suppress(OSError):
        os.write(tell, b"1")
        os.close(tell)


def _is_ready(worker: _Worker) -> bool:
    if worker.ready is not None:
        try:
            told = os.read(worker.ready, 1)
        except BlockingIOError:
            return False
        if not told:
            return False
        os.close(worker.ready)
        worker.ready = None
    return True


def _has_ended(worker: _Worker) -> bool:
    if not worker.has_ended and os.waitpid(worker.pid, os.WNOHANG)[0]:
        worker.has_ended = True
        if worker.ready is not None:
            os.close(worker.ready)
            worker.ready = None
    return worker.has_ended


def _tell(workers: list[_Worker], number: signal.Signals) -> None:
    for worker in workers:
        # The kernel may have reassigned the ID of an exited process.
        if not _has_ended(worker):
            os.kill(worker.pid, number)
