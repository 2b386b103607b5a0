"""The service's URL, and whether private keys may be sent to it."""

import ipaddress
from urllib.parse import urlsplit


def is_usable(server: str) -> bool:
    """Returns whether requests can be sent to the URL `server`."""
    try:
        parts = urlsplit(server)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_this_machine(server: str) -> bool:
    """Returns whether requests to `server` stay on this machine."""
    host = urlsplit(server).hostname or ""
    # Subdomains of localhost are excluded: some resolvers look them up in the DNS.
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(server: str) -> bool:
    """Returns whether requests to `server` are encrypted or stay on this machine."""
    return urlsplit(server).scheme == "https" or is_this_machine(server)
