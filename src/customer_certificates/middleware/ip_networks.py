"""Where a request comes from: an address that was named, this machine, or some proxy."""

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
    """Addresses and ranges; `address in networks`, where the address is a text."""

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
    """An IPv4 address as such, however IPv6 wraps it; None for what is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(text: str) -> bool:
    """Whether it is an address of this machine itself."""
    address = address_of(text)
    return address is not None and address.is_loopback


def is_forwarded(env: Mapping[str, object]) -> bool:
    """Whether some proxy passed the request on, as its WSGI environment shows."""
    return any(header in env for header in _PROXY_HEADERS)
