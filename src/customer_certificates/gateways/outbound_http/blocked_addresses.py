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

_V4 = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier (CGNAT)",
    "127.0.0.0/8": "loopback",
    # Azure's, for its virtual machines: the only metadata address in a public range.
    "168.63.129.16/32": "metadata",
    "169.254.0.0/16": "link-local, as used by metadata services",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "for documentation",
    "192.31.196.0/24": "reserved",
    "192.52.193.0/24": "reserved",
    "192.88.99.0/24": "6to4",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "reserved",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_V6 = {
    "::1/128": "loopback",
    "::/128": "unspecified",
    "::ffff:0:0/96": "IPv4-mapped",
    "::/96": "IPv4-compatible",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "NAT64",
    "2001::/32": "Teredo",
    "2001::/23": "reserved",
    "2001:db8::/32": "for documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "reserved",
    "3fff::/20": "for documentation",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "private",
    "ff00::/8": "multicast",
    # All but 2000::/3, the only range of public addresses (RFC 4291, 2.4).
    "::/3": "reserved",
    "4000::/2": "reserved",
    "8000::/1": "reserved",
}
_SPECIAL: list[tuple[Network, str]] = [
    (ipaddress.ip_network(text), kind) for text, kind in (_V4 | _V6).items()
]
# The last 32 bits are an IPv4 address that receives the packets, as they are or inverted.
_CARRIES_LAST = [
    ipaddress.IPv6Network(text)
    for text in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
]


class AddressRules:
    """`allowed` are ranges that the operator allows.

    `own` are the service's own addresses.
    """

    def __init__(self, allowed: Sequence[Network], own: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)
        self._own = tuple(own)

    def blocked_reason(self, address: Address) -> str | None:
        """Returns the kind of a blocked `address`; None if it is allowed.

        An address that contains an IPv4 address, as NAT64's do, is allowed if both are.
        """
        for one in (address, *_carried(address)):
            if any(one in network for network in self._allowed):
                continue
            kind = _kind(one)
            if kind is not None:
                return kind
            if any(one in network for network in self._own) or is_of_this_machine(one):
                return "the service's own"
        return None


@lru_cache(maxsize=4096)
def _kind(address: Address) -> str | None:
    return next((kind for network, kind in _SPECIAL if address in network), None)


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
    """Whether an interface of this machine has the address.

    The kernel then also uses it as the source. Connecting a datagram socket sends nothing.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            name: str = probe.getsockname()[0]
    except OSError:
        return False  # there is no way to it
    return ipaddress.ip_address(name) == address
