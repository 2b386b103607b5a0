"""Resolves names within a deadline, as the system's resolver may take half a minute."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread

from .deadline import Deadline
from .errors import TargetUnreachable
from .url import Address

Resolve = Callable[[str], Sequence[str]]

_MAX_THREADS = 256


def system_addresses(name: str) -> list[str]:
    """Returns the addresses of `name` in /etc/hosts, DNS or other sources."""
    entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


class Resolver:
    """Calls `resolve` in threads, each time anew.

    A lookup cannot be canceled. Threads of concurrent.futures would keep the process from ending
    during one.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._questions: SimpleQueue[tuple[str, Future[list[Address]]]] = SimpleQueue()
        self._idle_threads = Semaphore(0)
        self._lock = Lock()
        self._threads = 0

    def addresses(self, name: str, deadline: Deadline) -> list[Address]:
        """Returns all addresses of `name`. Raises TargetUnreachable if none, TimeoutError."""
        answer: Future[list[Address]] = Future()
        self._questions.put((name, answer))
        self._start_thread()
        try:
            addresses = answer.result(timeout=deadline.left)
        except TimeoutError:
            answer.cancel()
            raise
        except socket.gaierror:
            addresses = list[Address]()
        if not addresses:
            raise TargetUnreachable(f"The name {name} has no address.")
        return addresses

    def _start_thread(self) -> None:
        """Starts another thread, if all are busy and the limit permits."""
        with self._lock:
            if not self._idle_threads.acquire(blocking=False) and self._threads < _MAX_THREADS:
                self._threads += 1
                Thread(target=self._answer, name="lookup", daemon=True).start()

    def _answer(self) -> None:
        while True:
            name, answer = self._questions.get()
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(
                        [ipaddress.ip_address(address) for address in self._resolve(name)]
                    )
                except Exception as error:
                    answer.set_exception(error)
            self._idle_threads.release()
