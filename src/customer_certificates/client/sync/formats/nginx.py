"""nginx: a map of names, behind which a certificate changes without a reload.

nginx opens the two files of `ssl_certificate` and `ssl_certificate_key` one after the other, so a
file that is replaced between the two would end that handshake. Here each name is a symbolic link to
a folder that never changes; `$realpath_root` follows it once for each handshake, and both files
come from the folder that it led to (docs/decisions/0032).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..files.folder import shard
from ..state import Placed
from .layout import ChangeSet, Layout, certificate_path, placeholder, require_plain

_PLACEHOLDER = "placeholder"
# What stands at the beginning of a line of a map is one of these, unless it is escaped.
_WORDS = ("default", "hostnames", "include", "volatile")
_HEAD = """\
# Written by customer-certificates sync, and written again. Belongs into http {{ … }}.
map_hash_max_size {size};
map_hash_bucket_size 512;

map $ssl_server_name $customer_certificate_parent {{
    default "";
    "~^[^.]+\\.(?<customer_certificate_above>.+)$" $customer_certificate_above;
}}
# Follows the link: once for each handshake, as the value of a map is kept.
map $realpath_root $customer_certificate {{
    default $realpath_root;
}}
map $customer_certificate_parent $customer_certificate_wildcard {{
    default {placeholder};
"""
_MIDDLE = """\
}}
# A socket of IPv6 that takes IPv4 too (ipv6only=off) has such addresses as ::ffff:192.0.2.1.
map $server_addr $customer_certificate_address {{
    default $server_addr;
    "~^::ffff:(?<customer_certificate_ipv4>[0-9.]+)$" $customer_certificate_ipv4;
}}
# A client that connects to an IP address sends no name.
map $ssl_server_name $customer_certificate_asked {{
    default $ssl_server_name;
    "" $customer_certificate_address;
}}
map $customer_certificate_asked $customer_certificate_name {{
    default $customer_certificate_wildcard;
"""
_SERVER = """\
# Written by customer-certificates sync. Belongs into server {{ … }}.
root {root}/$customer_certificate_name;
ssl_certificate $customer_certificate/first.pem;
ssl_certificate_key $customer_certificate/first.pem;
# For clients that can do RSA only. Where a name has but one certificate, this is the same.
ssl_certificate $customer_certificate/rsa.pem;
ssl_certificate_key $customer_certificate/rsa.pem;
"""


class Nginx(Layout):
    """`http.conf` holds the map, `server.conf` what uses it."""

    listing = "http.conf"

    def prepare(self) -> None:
        root = self._folder.root
        require_plain(root)
        if not self._folder.exists(_PLACEHOLDER):
            path = certificate_path(_PLACEHOLDER)
            self._folder.write(path, placeholder())
            self._folder.folder_of_links(_PLACEHOLDER, {"first.pem": path, "rsa.pem": path})
        self._folder.write("server.conf", _SERVER.format(root=root).encode())

    def path(self, placed: Placed, names: Callable[[], Sequence[str]]) -> str:
        return certificate_path(f"{placed.id}-{placed.version}-{placed.fingerprint[:16]}")

    def point(self, hostname: str, winners: Mapping[str, Placed], *, keeps_free: bool) -> list[str]:
        before, after = self._state.pair(hostname), _PLACEHOLDER if keeps_free else None
        if winners:
            after = self._pair(winners)
        if after == before:
            return []
        self._state.set_pair(hostname, after)
        is_left = before and before != _PLACEHOLDER and not self._state.is_pair_used(before)
        left = [before] if before and is_left else []
        if after:
            self._state.keep([after, _link(hostname)])
        else:
            left.append(_link(hostname))
        # What is served no more ends now, and not only once the map without it is read.
        self._folder.symlink(after or _PLACEHOLDER, _link(hostname))
        return left

    def is_listing_due(self, settled: ChangeSet) -> bool:
        return settled.names

    def is_reload_due(self, settled: ChangeSet) -> bool:
        return settled.names

    def write_listing(self, write: Callable[[bytes], int]) -> None:
        size = 2048
        _, _, names = self._state.counts()
        while size < 2 * names:
            size *= 2
        write(_HEAD.format(size=size, placeholder=_PLACEHOLDER).encode())
        self._write_names(write, self._state.paired_names(wildcards=True))
        write(_MIDDLE.format().encode())
        self._write_names(write, self._state.paired_names(wildcards=False))
        write(b"}\n")

    def _pair(self, winners: Mapping[str, Placed]) -> str:
        """The folder with what is served to most clients, and to those that can do RSA only."""
        others = [one for key_type, one in sorted(winners.items()) if key_type != "rsa"]
        first = winners.get("ecdsa") or (others or [winners["rsa"]])[0]
        rsa = winners.get("rsa", first)
        names = [one.path.rpartition("/")[2].removesuffix(".pem") for one in (first, rsa)]
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
