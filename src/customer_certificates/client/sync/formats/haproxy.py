"""HAProxy: a crt-list, and one file with chain and key for each certificate."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import groupby
from operator import itemgetter

from ..state.certificates import Placed
from .layout import (
    ChangeSet,
    Layout,
    certificate_path,
    is_sent_by_clients,
    placeholder,
    require_plain,
)

_PLACEHOLDER = "placeholder.pem"
# HAProxy rejects a crt-list with a line of 65,535 bytes. The rest is for the file's name.
_LONGEST_LINE = 65_000


class Haproxy(Layout):
    """Files and lines of the crt-list are added or deleted, but never changed.

    A file's name identifies its version and the names that it is served for. This has three
    advantages. Over the runtime socket, a new line works before the old one is removed. The paths
    alone show what HAProxy has loaded. The previous crt-list can be restored.

    A name with certificates of several key types has several lines. HAProxy selects one by the
    client's capabilities.
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
        """Returns whether clients send `hostname`.

        Clients that send no name get the first certificate.
        """
        return is_sent_by_clients(hostname)

    def names_error(self, names: Sequence[str]) -> str | None:
        if crt_list_line(f"{self._folder.root}", names):
            return None
        octets = sum(len(name) + 1 for name in names)
        return f"the hostnames take {octets} bytes, and HAProxy reads at most {_LONGEST_LINE}"

    def is_listing_due(self, changes: ChangeSet) -> bool:
        return changes.selected or changes.contents

    def write_listing(self, write: Callable[[bytes], int]) -> None:
        # HAProxy serves the first certificate for unknown names. It cannot be deleted.
        write(f"{self._folder.root}/{_PLACEHOLDER} !*\n".encode())
        for path, rows in groupby(self._state.selection.all_filters(), key=itemgetter(0)):
            line = crt_list_line(f"{self._folder.root}/{path}", [name for _, name in rows])
            if line:
                write(f"{line}\n".encode())


def certificate_of(path: str) -> int:
    """Returns the id of the certificate whose file is at `path`."""
    return int(path.rpartition("/")[2].partition("-")[0])


def crt_list_line(path: str, filters: Sequence[str]) -> str:
    """Returns a line of a crt-list: a path, its names and its excluded names (with a `!`).

    Returns an empty string if there are no filters, or more than HAProxy reads. Then the
    certificate is not served. Without some filters, it would be served for other users' names.
    """
    line = " ".join([path, *filters])
    return line if filters and len(line) <= _LONGEST_LINE else ""
