"""Who counts as one client when requests are counted by address."""

import ipaddress
from functools import lru_cache


@lru_cache(1024)
def client_network(peer: str) -> str:
    """The /64 network of an IPv6 address, as one client has all of it; otherwise `peer` itself.

    An IPv4 address that IPv6 maps (RFC 4291, 2.5.5.2) is that IPv4 address.
    """
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return peer
