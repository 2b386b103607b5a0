"""Names become addresses, within a time: the system's own resolver may take half a minute."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import BoundedSemaphore, Thread

from .deadline import Deadline
from .forbidden import TargetUnreachable
from .targets import Address

Resolve = Callable[[str], Sequence[str]]

_MOST_AT_ONCE = 128


def system_addresses(name: str) -> list[str]:
    """What the system says: /etc/hosts, DNS, whatever it is set up to ask."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Lookups:
    """Asks `resolve`, each time anew. A look-up cannot be stopped, so each has its own thread."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._free = BoundedSemaphore(_MOST_AT_ONCE)

    def addresses(self, name: str, deadline: Deadline) -> list[Address]:
        """All addresses of `name`, in the order in which to try them.

        Raises TargetUnreachable where there are none, TimeoutError after the deadline.
        """
        if not self._free.acquire(timeout=deadline.left):
            raise TimeoutError
        answer: Future[list[Address]] = Future()
        Thread(target=self._look_up, args=(name, answer), daemon=True).start()
        try:
            addresses = answer.result(timeout=deadline.left)
        except socket.gaierror:
            addresses = []
        if not addresses:
            raise TargetUnreachable(f"The name {name} has no address.")
        return addresses

    def _look_up(self, name: str, answer: "Future[list[Address]]") -> None:
        try:
            answer.set_result([ipaddress.ip_address(one) for one in self._resolve(name)])
        except Exception as error:
            answer.set_exception(error)
        finally:
            self._free.release()
