"""HAProxy: a crt-list, and one file with chain and key for each certificate."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import groupby
from operator import itemgetter

from .layout import Layout, certificate_path, is_sent_by_clients, placeholder, require_plain
from .state import Placed

_PLACEHOLDER = "placeholder.pem"


class Haproxy(Layout):
    """The name of a file says for which names it is served. So a line of the crt-list never has to
    be changed, only added or deleted: over the runtime socket a new line works before the old one
    is gone, and what HAProxy has loaded can be told by its paths alone.

    A name that has certificates of several key types is in several lines: HAProxy picks by what the
    client can do.
    """

    listing = "crt-list"

    def prepare(self) -> None:
        require_plain(self._folder.root)
        if not (self._folder.root / _PLACEHOLDER).exists():
            self._folder.write(_PLACEHOLDER, placeholder())

    def path(self, placed: Placed, names: Callable[[], Sequence[str]]) -> str:
        served = " ".join(names())
        digest = sha256(served.encode()).hexdigest()[:16] if served else "unserved"
        return certificate_path(f"{placed.id}-{digest}")

    def write_listing(self, write: Callable[[bytes], int]) -> None:
        # The first one is served to who asks for no name that is here; it cannot be deleted.
        write(f"{self._folder.root}/{_PLACEHOLDER} !*\n".encode())
        for path, rows in groupby(self._state.all_own_names_served(), key=itemgetter(0)):
            if line := crt_list_line(f"{self._folder.root}/{path}", [name for _, name in rows]):
                write(f"{line}\n".encode())


def crt_list_line(path: str, names: Sequence[str]) -> str:
    """A certificate and its names, as a crt-list has them; empty where no client asks for them."""
    asked = [name for name in names if is_sent_by_clients(name)]
    return " ".join([path, *asked]) if asked else ""
