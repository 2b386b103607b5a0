"""One PEM file for each certificate, and an index of names."""

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

import msgspec

from ..state.certificates import Placed
from .layout import Layout, certificate_path


class Pem(Layout):
    """`index.json` maps hostnames to files: {hostname: {key type: file}}.

    A renewal replaces only the file. For a name without files, serve no certificate, even if a
    wildcard covers the name.
    """

    listing = "index.json"

    def prepare(self) -> None:
        """Does nothing, because this format has no constant files."""

    def path(self, placed: Placed, names: Callable[[], Sequence[str]]) -> str:
        return certificate_path(str(placed.id))

    def write_listing(self, write: Callable[[bytes], int]) -> None:
        separator = b"{"
        for hostname, selected in groupby(self._state.selection.all_selected(), key=itemgetter(0)):
            files = {key_type: path for _, key_type, path in selected if path}
            line = msgspec.json.encode(hostname) + b": " + msgspec.json.encode(files)
            write(separator + b"\n" + line)
            separator = b","
        write(b"\n}\n" if separator == b"," else b"{}\n")
