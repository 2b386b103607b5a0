"""Allows addresses of the public Internet, except the service's own.

Special-purpose addresses come from IANA's registries (RFC 6890):
https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry.
"""

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from functools import lru_cache

from ...setting_parsers import Network
from .url import Address

_NETWORKS = {
    "6to4": "192.88.99.0/24 2002::/16",
    "IPv4-compatible": "::/96",
    "IPv4-mapped": "::ffff:0:0/96",
    "NAT64": "64:ff9b::/96 64:ff9b:1::/48",
    "Teredo": "2001::/32",
    "for benchmarks": "198.18.0.0/15",
    "for documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
    "link-local": "fe80::/10",
    "link-local, as used by metadata services": "169.254.0.0/16",
    "loopback": "127.0.0.0/8 ::1/128",
    # Azure's, for its virtual machines: the only metadata address in a public range.
    "metadata": "168.63.129.16/32",
    "multicast": "224.0.0.0/4 ff00::/8",
    "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10",
    # The last three are all but 2000::/3, the only range of public addresses (RFC 4291, 2.4).
    "reserved": "192.0.0.0/24 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24 240.0.0.0/4 "
    "2001::/23 2620:4f:8000::/48 ::/3 4000::/2 8000::/1",
    "shared by a carrier (CGNAT)": "100.64.0.0/10",
    "unspecified": "0.0.0.0/8 ::/128",
}
# The smallest networks first, as some contain others.
_KINDS: list[tuple[Network, str]] = sorted(
    (
        (ipaddress.ip_network(text), kind)
        for kind, texts in _NETWORKS.items()
        for text in texts.split()
    ),
    key=lambda entry: -entry[0].prefixlen,
)
# The last 32 bits are an IPv4 address that receives the packets, as they are or inverted.
_CARRIES_LAST = [
    ipaddress.IPv6Network(text)
    for text in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
]


class AddressRules:
    """The operator allows the ranges in `allowed`. `own` are the service's own addresses."""

    def __init__(self, allowed: Sequence[Network], own: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)
        self._own = tuple(own)

    def blocked_reason(self, address: Address) -> str | None:
        """Returns the kind of a blocked `address`; None if it is allowed.

        An address that contains an IPv4 address, as NAT64's do, is allowed if both are.
        """
        for candidate in (address, *_carried(address)):
            if any(candidate in network for network in self._allowed):
                continue
            kind = _kind(candidate)
            if kind is not None:
                return kind
            if any(candidate in network for network in self._own) or is_of_this_machine(candidate):
                return "the service's own"
        return None


@lru_cache(maxsize=4096)
def _kind(address: Address) -> str | None:
    return next((kind for network, kind in _KINDS if address in network), None)


def _carried(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """Returns the IPv4 addresses in `address` (RFC 4291, 2.5.5; 6052; 3056; 4380)."""
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _CARRIES_LAST) and int(address) > 1:
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour:
            yield address.sixtofour
        if address.teredo:
            yield from address.teredo


def is_of_this_machine(address: Address) -> bool:
    """Returns whether an interface of this machine has the address.

    The kernel then also uses it as the source. To connect a datagram socket sends nothing.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            name: str = probe.getsockname()[0]
    except OSError:
        return False  # there is no route to it
    return ipaddress.ip_address(name) == address
