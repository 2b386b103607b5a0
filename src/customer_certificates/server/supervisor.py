"""The supervisor: starts workers, replaces failed ones, and reloads all of them.

It also keeps one background process running, which serves no requests.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable
from threading import Lock
from time import monotonic

from ..gateways.signals import SignalSafeEvent
from ..terminal import say
from .sockets import listen
from .worker_process import SIGNALS, WorkerProcess, fork, report_ready

_START_SECONDS = 60
_CHECK_SECONDS = 0.1
_RESTART_SECONDS = 1
# A drained worker has this long to close its other resources.
_GRACE_SECONDS = 5
# The background process has this long to finish deliveries in progress.
_BACKGROUND_END_SECONDS = 25

# Serves on the socket, and calls the function once it is ready. Returns after SIGTERM, or after
# SIGUSR1 once its clients have disconnected.
Work = Callable[[socket.socket, Callable[[], None]], None]


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
        self._workers = range(workers)
        self._drain_seconds = drain_seconds
        self._wakeup = SignalSafeEvent()
        self._is_ending = self._is_to_reload = False
        # By the worker's number. `_restart_at` has the workers that have ended.
        self._listeners: list[socket.socket] = []
        self._serving: dict[int, WorkerProcess] = {}
        self._starting: dict[int, WorkerProcess] = {}
        self._restart_at: dict[int, float] = {}
        self._draining: list[WorkerProcess] = []
        self._start_deadline = 0.0
        self._background_process: WorkerProcess | None = None
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
        self._wakeup.set()

    def serve(self, host: str, port: int) -> None:
        """Serves until SIGTERM or SIGINT, then waits for the workers.

        Raises OSError if the address cannot be listened on.
        """
        self._listeners = listen(host, port, len(self._workers))
        before = [signal.signal(number, self._handle) for number in SIGNALS]
        try:
            self._serving = {worker: self._start(worker) for worker in self._workers}
            self._start_background()
            for call in self._on_startup:
                call()
            while not self._is_ending:
                self._check()
                process = self._background_process
                is_waiting = self._starting or self._restart_at or (process and process.has_ended())
                self._wakeup.wait(_CHECK_SECONDS if is_waiting else None)
                self._wakeup.clear()
        finally:
            self._end()
            for number, handler in zip(SIGNALS, before, strict=True):
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self._is_to_reload = True
        elif number != signal.SIGCHLD:
            self._is_ending = True
        self._wakeup.set()

    def _check(self) -> None:
        if self._is_to_reload and not self._starting and not self._draining:
            self._is_to_reload = False
            self._begin_reload()
        self._draining = [process for process in self._draining if not process.has_ended()]
        self._check_starting()
        for worker, process in list(self._serving.items()):
            if process.has_ended():
                say("a worker ended unexpectedly. Starting another one.")
                del self._serving[worker]
                # Wait before a restart if the worker ended quickly.
                self._restart_at[worker] = process.started + _RESTART_SECONDS
        for worker, at in list(self._restart_at.items()):
            if at <= monotonic():
                del self._restart_at[worker]
                self._serving[worker] = self._start(worker)
        background = self._background_process
        if (
            background
            and background.has_ended()
            and background.started + _RESTART_SECONDS <= monotonic()
        ):
            self._start_background()

    def _begin_reload(self) -> None:
        for call in self._on_reload:
            call()
        self._starting = {worker: self._start(worker) for worker in self._workers}
        self._start_deadline = monotonic() + _START_SECONDS

    def _check_starting(self) -> None:
        """Lets the new workers take over once all are ready."""
        starting = list(self._starting.values())
        if not starting:
            return
        if monotonic() > self._start_deadline or any(process.has_ended() for process in starting):
            say("the new workers did not start. The old ones keep serving.")
            self._starting = {}
            _signal(starting, signal.SIGKILL)
            self._draining = starting
        elif all(process.is_ready() for process in starting):
            self._draining = list(self._serving.values())
            self._serving, self._starting = self._starting, dict[int, WorkerProcess]()
            self._restart_at = {}
            _signal(self._draining, signal.SIGUSR1)

    def _start(self, worker: int) -> WorkerProcess:
        ready, pipe = os.pipe()
        os.set_blocking(ready, False)

        def work() -> None:
            os.close(ready)
            own = self._listeners[worker]
            for listener in self._listeners:
                # Otherwise connections would wait for a worker that does not accept them.
                if listener is not own:
                    listener.close()
            self._work(own, lambda: report_ready(pipe))

        pid = self._fork("cc-worker", work)
        os.close(pipe)
        return WorkerProcess(pid, ready, monotonic())

    def _start_background(self) -> None:
        background = self._background
        if not background:
            return

        def run() -> None:
            for listener in self._listeners:
                listener.close()
            # No work has begun yet, so a signal interrupts nothing.
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            background()

        pid = self._fork("cc-background", run)
        self._background_process = WorkerProcess(pid, None, monotonic())

    def _fork(self, name: str, run: Callable[[], None]) -> int:
        sys.stdout.flush()
        with self.forking:
            return fork(name, run)

    def _end(self) -> None:
        """Stops all workers. Each finishes its requests in progress first."""
        for listener in self._listeners:
            listener.close()
        workers = [*self._serving.values(), *self._starting.values(), *self._draining]
        self._end_all(workers, self._drain_seconds + _GRACE_SECONDS)
        background = self._background_process
        self._end_all([background] if background else [], _BACKGROUND_END_SECONDS)

    def _end_all(self, processes: list[WorkerProcess], seconds: float) -> None:
        _signal(processes, signal.SIGTERM)
        until = monotonic() + seconds
        while processes := [process for process in processes if not process.has_ended()]:
            if monotonic() > until:
                _signal(processes, signal.SIGKILL)
            self._wakeup.wait(_CHECK_SECONDS)
            self._wakeup.clear()


def _signal(processes: list[WorkerProcess], number: signal.Signals) -> None:
    for process in processes:
        process.send_signal(number)
