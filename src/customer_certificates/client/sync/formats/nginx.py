"""nginx: a map of names to certificates, which change without a reload.

nginx opens the files of `ssl_certificate` and `ssl_certificate_key` one after the other. A file
replaced between the two would abort the handshake. So each name is a symbolic link to a folder that
never changes. `$realpath_root` resolves the link once for each handshake, and both files come from
that folder (docs/decisions/0032).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ..files.folder import shard
from ..state.certificates import Placed
from .layout import ChangeSet, Layout, certificate_path, placeholder, require_plain

_PLACEHOLDER = "placeholder"
# Keywords at the beginning of a line of a map. A name that equals one must be escaped.
_WORDS = ("default", "hostnames", "include", "volatile")
_TEMPLATES = Path(__file__).parent
_NAMES = "@names@\n"


class Nginx(Layout):
    """`http.conf` holds the map. `server.conf` uses the map."""

    listing = "http.conf"

    def prepare(self) -> None:
        root = self._folder.root
        require_plain(root)
        if not self._folder.exists(_PLACEHOLDER):
            path = certificate_path(_PLACEHOLDER)
            self._folder.write(path, placeholder())
            self._folder.folder_of_links(_PLACEHOLDER, {"first.pem": path, "rsa.pem": path})
        server = (_TEMPLATES / "nginx_server.conf").read_text("utf-8")
        self._folder.write("server.conf", server.replace("@root@", str(root)).encode())

    def path(self, placed: Placed, names: Callable[[], Sequence[str]]) -> str:
        return certificate_path(f"{placed.id}-{placed.version}-{placed.fingerprint[:16]}")

    def point(
        self, hostname: str, selected: Mapping[str, Placed], *, keeps_free: bool
    ) -> list[str]:
        before, after = self._state.selection.pair(hostname), _PLACEHOLDER if keeps_free else None
        if selected:
            after = self._pair(selected)
        if after == before:
            return []
        self._state.selection.set_pair(hostname, after)
        unused = list[str]()
        if before and before != _PLACEHOLDER and not self._state.selection.is_pair_used(before):
            unused.append(before)
        if after:
            self._state.removals.cancel([after, _link(hostname)])
        else:
            unused.append(_link(hostname))
        # Stop serving a removed certificate now, before the reload of the map.
        self._folder.symlink(after or _PLACEHOLDER, _link(hostname))
        return unused

    def is_listing_due(self, changes: ChangeSet) -> bool:
        return changes.names

    def is_reload_due(self, changes: ChangeSet) -> bool:
        return changes.names

    def write_listing(self, write: Callable[[bytes], int]) -> None:
        size = 2048
        _, _, names = self._state.counts()
        while size < 2 * names:
            size *= 2
        template = (_TEMPLATES / "nginx_http.conf").read_text("utf-8")
        head, middle, end = template.replace("@size@", str(size)).split(_NAMES)
        write(head.encode())
        self._write_names(write, self._state.selection.paired_names(wildcards=True))
        write(middle.encode())
        self._write_names(write, self._state.selection.paired_names(wildcards=False))
        write(end.encode())

    def _pair(self, selected: Mapping[str, Placed]) -> str:
        """Stages a folder with the certificates for most clients and for RSA-only clients.

        Returns its path.
        """
        others = [
            certificate for key_type, certificate in sorted(selected.items()) if key_type != "rsa"
        ]
        first = selected.get("ecdsa") or (others or [selected["rsa"]])[0]
        rsa = selected.get("rsa", first)
        names = [
            certificate.path.rpartition("/")[2].removesuffix(".pem") for certificate in (first, rsa)
        ]
        name = names[0] if first is rsa else "+".join(names)
        path = f"pairs/{shard(name)}/{name}"
        self._folder.folder_of_links(path, {"first.pem": first.path, "rsa.pem": rsa.path})
        return path

    def _write_names(self, write: Callable[[bytes], int], names: Iterable[str]) -> None:
        for name in names:
            key = name.removeprefix("*.")
            escaped = f"\\{key}" if key in _WORDS else key
            write(f"    {escaped} {_link(name)};\n".encode())


def _link(hostname: str) -> str:
    return f"names/{shard(hostname)}/{hostname}"
