"""Checks of client addresses: networks, loopback and proxies."""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

_PROXY_HEADERS = (
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """A set of networks. `address in networks` tests an address given as text."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)
        self._has = lru_cache(1024)(self._look_up)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        return self._has(address)

    def _look_up(self, text: str) -> bool:
        address = address_of(text)
        return address is not None and any(address in network for network in self._networks)


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Returns the address in `text`, or None. Unwraps IPv4-mapped IPv6 addresses."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(text: str) -> bool:
    """Returns whether `text` is a loopback address."""
    address = address_of(text)
    return address is not None and address.is_loopback


def is_forwarded(env: Mapping[str, object]) -> bool:
    """Returns whether the request has headers of a proxy (WSGI environment)."""
    return any(header in env for header in _PROXY_HEADERS)
