"""Processes of clients: each has one user live after another, and tells what became of it."""

import ctypes
import multiprocessing
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Self

import msgspec

from .lives import Life, Outcome, Plan

_CLOSED_SECONDS = 0.01
_END_SECONDS = 200
_LOOK_SECONDS = 0.2
_FORKED = multiprocessing.get_context("forkserver")


class Clients:
    """Clients at work from `start` on, and until `stop`."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        seed: int,
        processes: int,
        writes: int,
        seconds: float,
        first: int = 0,
        folder: Path | None = None,
    ) -> None:
        """A life ends after `seconds`, or when each of its writers has made so many `writes`; the
        number of the first one is `first`. `folder` keeps the lives that have not ended."""
        self.outcome = Outcome()
        self._lock = Lock()
        self._failure = ""
        self._closed = _FORKED.RawValue(ctypes.c_bool, False)
        self._ended = _FORKED.RawValue(ctypes.c_bool, False)
        self._busy = _FORKED.RawArray(ctypes.c_int, processes)
        self._number = _FORKED.Value(ctypes.c_longlong, first)
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []
        for index in range(processes):
            pipe, its_pipe = _FORKED.Pipe(duplex=False)
            shared = (self._closed, self._ended, self._busy, self._number)
            process = _FORKED.Process(
                target=_live,
                args=(its_pipe, list(urls), Plan(0, seed, writes, seconds), index, folder, *shared),
                daemon=True,
            )
            process.start()
            its_pipe.close()
            self._processes.append(process)
            self._pipes.append(pipe)
        self._collector = Thread(target=self._collect, name="collector", daemon=True)
        self._collector.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def next_life(self) -> int:
        """The number of the next life."""
        return int(self._number.value)

    def total(self) -> Outcome:
        """The outcome of all lives that have ended. Raises RuntimeError if a client failed."""
        if self._failure:
            raise RuntimeError(self._failure)
        with self._lock:
            total = Outcome()
            total.add(self.outcome)
            return total

    @contextmanager
    def pause(self) -> Iterator[None]:
        """No request is under way in the block."""
        self._closed.value = True
        try:
            while any(self._busy):
                time.sleep(_CLOSED_SECONDS)
            yield
        finally:
            self._closed.value = False

    def stop(self, *, at_once: bool = False) -> Outcome:
        """Has all lives end, or `at_once` kills them, and gives what became of those that ended."""
        self._ended.value = True
        if not at_once:
            self._collector.join(_END_SECONDS)
        for process in self._processes:
            process.join(1)
            process.kill()
        return self.total()

    def _collect(self) -> None:
        pipes = list(self._pipes)
        while pipes:
            for pipe in wait(pipes, _LOOK_SECONDS):
                assert isinstance(pipe, Connection)
                try:
                    told = pipe.recv_bytes()
                except EOFError:
                    pipes.remove(pipe)
                    continue
                if told.startswith(b"Traceback"):
                    self._failure = told.decode()
                    continue
                with self._lock:
                    self.outcome.add(msgspec.json.decode(told, type=Outcome))


def _live(
    pipe: Connection,
    urls: list[str],
    plan: Plan,
    index: int,
    folder: Path | None,
    closed: Any,
    ended: Any,
    busy: Any,
    number: Any,
) -> None:
    """Runs lives in a client process until the checker stops it."""
    lock = Lock()

    def add(count: int) -> None:
        with lock:
            busy[index] += count

    @contextmanager
    def gate() -> Iterator[None]:
        add(1)
        while closed.value:
            add(-1)
            time.sleep(_CLOSED_SECONDS)
            add(1)
        try:
            yield
        finally:
            add(-1)

    with suppress(BrokenPipeError, KeyboardInterrupt):
        try:
            while not ended.value:
                with number.get_lock():
                    own = msgspec.structs.replace(plan, number=number.value)
                    number.value += 1
                life = Life(urls, own, folder, gate, lambda: bool(ended.value))
                pipe.send_bytes(msgspec.json.encode(life.live()))
        except Exception:
            pipe.send_bytes(traceback.format_exc().encode())
