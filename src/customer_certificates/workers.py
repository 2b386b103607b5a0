"""Granian's server, with what it lacks: its workers are replaced without a request being lost."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

from granian import _signals
from granian._granian import SocketHolder, WorkerSignal
from granian.constants import SSLProtocols
from granian.server.mp import MPServer, WorkerProcess

from .gateways.alarms import Alarm
from .terminal import say

# What clients have to take of an answer that is sent to them, before the kernel gives them up.
_UNREAD_SECONDS = 30
_START_SECONDS = 60
_LOOK_SECONDS = 0.1
_INSIST_SECONDS = 0.5
# As long as a TLS handshake may take: one that was begun with an old worker is ended by it.
_HANDSHAKE_SECONDS = 10

# What tells a process to end; a new worker has them blocked until it unblocks them.
ENDING = {signal.SIGTERM, signal.SIGINT}

Loader = Callable[[], object]


class Workers(MPServer):
    """Each worker has a listening socket of its own, which is the first process's and outlives it:
    connections that nobody has accepted yet are its successor's.

    A reload (SIGHUP) starts new workers. Once all of them are ready, the old ones accept no more,
    end each connection with its next answer, finish handshakes and requests, and are gone after ten
    seconds; if they are not ready, the old ones go on. On Linux; elsewhere it is granian's own way.
    """

    def __init__(self, *arguments: Any, threads: int, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # Signals' handlers set it; one that comes upon another would wait for itself.
        self.main_loop_interrupt: Any = Alarm()
        self._threads = threads
        self._listeners: list[int] = []
        # A process that is forked has all descriptors that are open at that moment; whoever starts
        # another one by way of a pipe would wait for as long as the first lives.
        self.forking = Lock()
        self._changing = Lock()
        self._replacing: list[WorkerProcess] = []
        self._ending = Event()

    def use_tls(self, certificate: str, key: str) -> None:
        """What workers that are started from now on read: paths of files in PEM."""
        tls12 = str(SSLProtocols.tls12)
        self.ssl_ctx: Any = (True, certificate, key, None, tls12, None, [], False)

    def reload(self) -> None:
        """Has all workers replaced; may be called from any thread."""
        self.signal_handler_reload()

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        # Set here: granian warns of many, not knowing that few of them have their turn.
        self.blocking_threads = self._threads
        super().startup(spawn_target, target_loader)

    def _init_shared_socket(self) -> None:
        if sys.platform != "linux":
            super()._init_shared_socket()
            return
        self._ssp = self._shd = self._sso = None
        self._listeners = [self._listen() for _ in range(self.workers)]

    def _listen(self) -> int:
        family = socket.AF_INET6 if ":" in self.bind_addr else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Connections inherit these.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_SECONDS * 1000)
        listener.bind((self.bind_addr, self.bind_port))
        listener.listen(self.backlog)
        return listener.detach()

    def _drop_shared_socket(self) -> None:
        while self._listeners:
            os.close(self._listeners.pop())
        super()._drop_shared_socket()

    def _spawn_worker(  # type: ignore[override]
        self, idx: int, target: Any, callback_loader: Loader
    ) -> WorkerProcess:
        if self._listeners:
            own = self._listeners[idx]
            self._shd: Any = SocketHolder(own, False, self.backlog)  # type: ignore[call-arg]
            others = [one for one in self._listeners if one != own]
            callback_loader = partial(_load_alone, callback_loader, own, others)
        worker = super()._spawn_worker(idx=idx, target=target, callback_loader=callback_loader)
        start = worker.start

        def start_alone() -> None:
            with self.forking:
                # Before it has handlers of its own, a worker would swallow them with this one's.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
                try:
                    start()
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)

        worker.start = start_alone  # type: ignore[method-assign]
        _wait_in_one_thread(worker)
        return worker

    def _respawn_workers(self, *arguments: Any, **settings: Any) -> None:
        with self._changing:
            super()._respawn_workers(*arguments, **settings)

    def _reload(self, spawn_target: Any, target_loader: Any) -> None:
        if not self._listeners:
            super()._reload(spawn_target, target_loader)
            return
        self.reload_signal = False
        self.main_loop_interrupt.clear()
        # A signal that came just now must not be forgotten.
        if self.interrupt_signal:
            self.main_loop_interrupt.set()
        if self._replacing:
            return
        self._call_hooks(self.hooks_reload)
        ready, tell = os.pipe()
        loader = partial(_load_and_tell, target_loader, tell)
        fresh = self._replacing = [
            self._spawn_worker(idx, spawn_target, loader) for idx in range(self.workers)
        ]
        for worker in fresh:
            # Until it serves, its end is no reason to start another.
            worker.interrupt_by_parent = True
            worker.start()
        os.close(tell)
        Thread(target=self._replace, args=[fresh, ready], name="reload", daemon=True).start()

    def _replace(self, fresh: list[WorkerProcess], ready: int) -> None:
        """Has the `fresh` workers take over, once as many bytes as they are came from `ready`."""
        if not self._start(fresh, ready):
            say("new workers did not start; those that were there go on.")
            _end(fresh, 0)
            self._replacing = []
            return
        with self._changing:
            if self._ending.is_set():
                # Whoever ends the service ends old and new ones alike.
                return
            old, self.wrks = self.wrks, fresh
            self._replacing = old
            for worker in fresh:
                worker.interrupt_by_parent = False
                if not worker.is_alive():
                    self.interrupt_children.append(worker.idx)
                    self.main_loop_interrupt.set()
        for worker in old:
            worker.interrupt_by_parent = True
            _signal(worker, signal.SIGUSR1)
        if not self._ending.wait(_HANDSHAKE_SECONDS):
            _end(old, self.workers_kill_timeout or 0)
            self._replacing = []

    def _start(self, fresh: Sequence[WorkerProcess], ready: int) -> bool:
        os.set_blocking(ready, False)
        until, told = monotonic() + _START_SECONDS, 0
        while told < len(fresh):
            with suppress(BlockingIOError):
                told += len(os.read(ready, len(fresh)))
            if monotonic() > until or not all(worker.is_alive() for worker in fresh):
                break
            if self._ending.wait(_LOOK_SECONDS):
                break
        os.close(ready)
        return told == len(fresh)

    def shutdown(self, exit_code: int = 0) -> None:
        try:
            super().shutdown(exit_code)
        except SystemExit:
            # Told to end, it ended: also where a worker failed just before and has no successor.
            if not self.interrupt_signal:
                raise

    def _stop_workers(self) -> None:
        self._ending.set()
        with self._changing:
            self.wrks = [*self.wrks, *self._replacing]
        ended = Event()
        Thread(target=_insist, args=[self.wrks, ended], name="insist", daemon=True).start()
        super()._stop_workers()
        ended.set()


def act_on_the_first_signal() -> None:
    """In a new worker: has it act on one SIGTERM or SIGINT, and ignore the next ones.

    At a second one, granian's own handler would wait for ever and hold Python's lock. The worker
    could then not answer the requests in progress.
    """

    def set_signals() -> WorkerSignal:
        event = WorkerSignal()
        # One step of the interpreter takes the action away, so no signal comes in between.
        actions = iter([event.set])
        _signals.set_main_signals(lambda *_: next(actions, _do_nothing)())
        return event

    _signals.set_sync_signals = set_signals


def _do_nothing() -> None:
    """A later signal changes nothing."""


def _load_alone(load: Loader, own: int, others: Sequence[int]) -> object:
    """In a new worker: closes the sockets of its siblings, which would otherwise outlive them."""
    for descriptor in others:
        os.close(descriptor)
    app: Any = load()

    def leave(*_: object) -> None:
        _accept_no_more(own)
        app.leave()

    signal.signal(signal.SIGUSR1, leave)
    return app


def _load_and_tell(load: Loader, tell: int) -> object:
    loaded = load()
    os.write(tell, b"1")
    os.close(tell)
    return loaded


def _accept_no_more(listener: int) -> None:
    """Puts a socket to which nobody connects in the place of `listener`, which goes on being its
    successor's. Granian can only close it, and drops the handshakes under way as it does."""
    with socket.socket(socket.AF_UNIX) as nobodys:
        # Without a name in the file system: the kernel chooses one.
        nobodys.bind("")
        nobodys.listen(1)
        os.dup2(nobodys.fileno(), listener)
    os.set_blocking(listener, False)


def _wait_in_one_thread(worker: WorkerProcess) -> None:
    """Lets only granian's watcher of `worker` wait for the process; other threads ask the watcher.

    Where several threads wait for one process, one gets its status. Until that thread has stored
    it, multiprocessing tells the others that the process is alive, and they would kill it.
    """
    ended, watch = Event(), worker._watcher

    def watch_alone() -> None:
        worker.inner.join()
        ended.set()
        watch()

    def join(timeout: float | None = None) -> None:
        ended.wait(timeout)

    worker._watcher = watch_alone  # type: ignore[method-assign]
    worker.join = join  # type: ignore[method-assign]
    worker.is_alive = lambda: not ended.is_set()  # type: ignore[method-assign]


def _signal(worker: WorkerProcess, number: signal.Signals) -> None:
    if worker.inner.pid and worker.is_alive():
        with suppress(ProcessLookupError):
            os.kill(worker.inner.pid, number)


def _end(workers: Sequence[WorkerProcess], seconds: float) -> None:
    until = monotonic() + seconds
    for worker in workers:
        worker.terminate()
    ended = Event()
    Thread(target=_insist, args=[workers, ended], name="insist", daemon=True).start()
    for worker in workers:
        worker.join(max(0.1, until - monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join()
    ended.set()


def _insist(workers: Sequence[WorkerProcess], ended: Event) -> None:
    """Repeats SIGTERM until all have `ended`: where it comes while Python goes to sleep again after
    another signal, it is not acted on before the next one."""
    while not ended.wait(_INSIST_SECONDS):
        for worker in workers:
            _signal(worker, signal.SIGTERM)
