"""One PEM file for each certificate, and an index of names: for anything that reads files."""

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

import msgspec

from ..state import Placed
from .layout import Layout, certificate_path


class Pem(Layout):
    """`index.json`: {hostname: {key type: file}}. A renewal replaces a file and nothing else. For
    a name without files nothing is served, although a wildcard covers it."""

    listing = "index.json"

    def prepare(self) -> None:
        """There is nothing that never changes."""

    def path(self, placed: Placed, names: Callable[[], Sequence[str]]) -> str:
        return certificate_path(str(placed.id))

    def write_listing(self, write: Callable[[bytes], int]) -> None:
        separator = b"{"
        for hostname, winners in groupby(self._state.all_winners(), key=itemgetter(0)):
            files = {key_type: path for _, key_type, path in winners if path}
            line = msgspec.json.encode(hostname) + b": " + msgspec.json.encode(files)
            write(separator + b"\n" + line)
            separator = b","
        write(b"\n}\n" if separator == b"," else b"{}\n")
