"""Groups client addresses into networks, to count requests."""

import ipaddress
from functools import lru_cache


@lru_cache(1024)
def client_network(peer: str) -> str:
    """Returns the /64 network of an IPv6 address, as one client has all of it; otherwise `peer`.

    An IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) counts as the IPv4 address.
    """
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return peer
