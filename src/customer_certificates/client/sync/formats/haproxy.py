"""HAProxy: a crt-list, and one file with chain and key for each certificate."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import groupby
from operator import itemgetter

from ..state import Placed
from .layout import (
    ChangeSet,
    Layout,
    certificate_path,
    is_sent_by_clients,
    placeholder,
    require_plain,
)

_PLACEHOLDER = "placeholder.pem"
# HAProxy refuses the whole crt-list if a line has 65,535 octets. The rest is for the file's name.
_LONGEST_LINE = 65_000


class Haproxy(Layout):
    """The name of a file says which version it has and for which names it is served. No file and no
    line of the crt-list is ever changed, only added or deleted. So over the runtime socket a new
    line works before the old one is gone, what HAProxy has loaded can be told by its paths alone,
    and the crt-list before the last change can be put back.

    A name that has certificates of several key types is in several lines: HAProxy picks by what the
    client can do.
    """

    listing = "crt-list"

    def prepare(self) -> None:
        require_plain(self._folder.root)
        if not self._folder.exists(_PLACEHOLDER):
            self._folder.write(_PLACEHOLDER, placeholder())

    def path(self, placed: Placed, names: Callable[[], Sequence[str]]) -> str:
        filters = names()
        served = " ".join(filters)
        name = f"{placed.id}-{placed.version}"
        if not crt_list_line(f"{self._folder.root}", filters):
            return certificate_path(f"{name}-{placed.fingerprint[:16]}-unserved")
        digest = sha256(f"{placed.fingerprint} {served}".encode()).hexdigest()[:16]
        return certificate_path(f"{name}-{digest}")

    def can_serve(self, hostname: str) -> bool:
        """A client that connects to an IP address sends no name: it gets the first certificate."""
        return is_sent_by_clients(hostname)

    def names_error(self, names: Sequence[str]) -> str | None:
        if crt_list_line(f"{self._folder.root}", names):
            return None
        octets = sum(len(name) + 1 for name in names)
        return f"the hostnames take {octets} bytes, and HAProxy reads at most {_LONGEST_LINE}"

    def is_listing_due(self, settled: ChangeSet) -> bool:
        return settled.winners or settled.contents

    def write_listing(self, write: Callable[[bytes], int]) -> None:
        # The first one is served to who asks for no name that is here; it cannot be deleted.
        write(f"{self._folder.root}/{_PLACEHOLDER} !*\n".encode())
        for path, rows in groupby(self._state.all_filters(), key=itemgetter(0)):
            line = crt_list_line(f"{self._folder.root}/{path}", [name for _, name in rows])
            if line:
                write(f"{line}\n".encode())


def certificate_of(path: str) -> int:
    """The id of the certificate whose file is at `path`."""
    return int(path.rpartition("/")[2].partition("-")[0])


def crt_list_line(path: str, filters: Sequence[str]) -> str:
    """A certificate, its names, and the names (each with a `!`) that its wildcards are not for, as
    a crt-list has them. Empty if there are no filters, or more than HAProxy reads: then it is not
    served, because without some of them it would be served for other users' names."""
    line = " ".join([path, *filters])
    return line if filters and len(line) <= _LONGEST_LINE else ""
