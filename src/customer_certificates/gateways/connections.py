"""The connections of clients, as the kernel sees them: those over which too little goes are cut.

The server's library has no time-out for a body that comes slowly or an answer that is not read, and
does not tell which connection a request came by. The kernel counts what goes over each.
"""

import os
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import NamedTuple

_WINDOW_SECONDS = 5.0
_BODY_SECONDS = 10.0
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_LEAST_BYTES = 1024 * 2 * int(_WINDOW_SECONDS)
# struct tcp_info of <linux/tcp.h>: tcpi_bytes_acked and tcpi_bytes_received (RFC 4898), which
# every Linux since 4.1 has at the same place.
_TCP_INFO = struct.Struct("=120xQQ")


@dataclass(slots=True, eq=False)
class Underway:
    """A request that is not answered yet, from `address`; when it began, and since when its body is
    waited for, if it is (of the monotonic clock). `was_cut`: its connection may have been cut."""

    address: str
    began: float
    body_awaited: float | None = None
    was_cut: bool = False


class _Bytes(NamedTuple):
    received: int
    acknowledged: int


class _Connection:
    """What went over a connection in the last two windows, the older one first."""

    def __init__(self, peer: str, earlier: "_Connection | None", now: _Bytes) -> None:
        self.peer = peer
        self._now = now
        before = earlier._now if earlier else None
        self._last = before and _Bytes(*(new - old for new, old in zip(now, before, strict=True)))
        self._before_last = earlier and earlier._last

    @property
    def owes(self) -> bool:
        """It was told nothing, and says nothing, or so little that it would never end."""
        if not self._last or self._last.acknowledged:
            return False
        return not self._last.received or self.trickles

    @property
    def trickles(self) -> bool:
        """It was told nothing, and says so little that it would never end."""
        last, before = self._last, self._before_last
        return bool(
            last
            and before
            and last.received
            and before.received
            and not last.acknowledged
            and not before.acknowledged
            and before.received + last.received < _LEAST_BYTES
        )

    @property
    def rests(self) -> bool:
        """It says nothing, and takes little or nothing of what it is told."""
        last, before = self._last, self._before_last
        return bool(
            last
            and before
            and not last.received
            and last.acknowledged + before.acknowledged < _LEAST_BYTES
        )


class Connections:
    """Looks every five seconds, in a thread of its own, on Linux.

    A peer that owes a body for ten seconds loses the connections over which it sends nothing, or
    less than 1 KiB a second; where they get scarce, the peers that have most lose those over which
    nothing goes. What belongs to a request that is being worked on for so long itself is let be:
    its connection looks no other.
    """

    def __init__(
        self,
        port: int,
        most: int,
        underway: Callable[[], Iterable[Underway]],
        on_cut: Callable[[str], None],
    ) -> None:
        """`port` is the service's own; `most` is how many connections it takes at once;
        `on_cut` is told why one was cut: `slow` or `scarce`."""
        self._port = port
        self._most = most
        self._underway = underway
        self._on_cut = on_cut
        self._known: dict[int, _Connection] = {}
        self._closing = Event()
        if sys.platform == "linux":
            Thread(target=self._run, name="connections", daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(_WINDOW_SECONDS):
            self.look(monotonic())

    def look(self, now: float) -> None:
        """One look, `now` (of the monotonic clock); the next is to be a window later."""
        found = {}
        for inode, peer, count, _ in _connections(self._port):
            found[inode] = _Connection(peer, self._known.get(inode), count)
        self._known = found
        requests = list(self._underway())
        late = [one for one in requests if (one.body_awaited or now) <= now - _BODY_SECONDS]
        busy = {
            one.address
            for one in requests
            if one.body_awaited is None and one.began <= now - _WINDOW_SECONDS
        }
        owing = {one.address for one in late}
        cut = {
            inode
            for inode, one in found.items()
            # Whoever waits for an answer says nothing meanwhile.
            if one.peer in owing and (one.trickles if one.peer in busy else one.owes)
        }
        for one in late:
            one.was_cut = one.was_cut or one.address in owing
        scarce = self._to_spare(found, busy) - cut
        for inode, _, _, connection in _connections(self._port):
            if inode in cut or inode in scarce:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                self._on_cut("slow" if inode in cut else "scarce")

    def _to_spare(self, found: dict[int, _Connection], busy: set[str]) -> set[int]:
        """Where three quarters of the connections are taken: what brings them to a half."""
        if len(found) <= self._most * 3 // 4:
            return set()
        had = Counter(one.peer for one in found.values())
        at_rest = [
            inode
            for inode, one in found.items()
            if (one.rests or one.owes) and one.peer not in busy
        ]
        at_rest.sort(key=lambda inode: -had[found[inode].peer])
        return set(at_rest[: len(found) - self._most // 2])


def _connections(port: int) -> Iterator[tuple[int, str, _Bytes, socket.socket]]:
    """Each connection to `port`: its inode, its peer's address, what went over it, and the socket,
    which is good until the next one."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError), _borrowed(int(name)) as connection:
            if connection.family not in _FAMILIES or connection.getsockname()[1] != port:
                continue
            # Nobody is at the other end of the socket that listens.
            peer = connection.getpeername()[0]
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
            acknowledged, received = _TCP_INFO.unpack(info)
            inode = os.fstat(connection.fileno()).st_ino
            yield inode, peer, _Bytes(received, acknowledged), connection


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """The socket of `descriptor`. Raises OSError where it is none.

    Neither closed nor copied: closing a copy of SQLite's file would end all locks that this process
    has on it (POSIX).
    """
    borrowed = socket.socket(fileno=descriptor)
    try:
        yield borrowed
    finally:
        borrowed.detach()
