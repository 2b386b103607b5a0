"""Where the service is, and what that means for private keys on their way to it."""

import ipaddress
from urllib.parse import urlsplit


def is_usable(server: str) -> bool:
    """Whether `server` is a URL that requests can be sent to."""
    try:
        parts = urlsplit(server)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_this_machine(server: str) -> bool:
    """Whether requests to `server` stay on this machine."""
    host = urlsplit(server).hostname or ""
    # Not a name below it: some resolvers ask the DNS for those.
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(server: str) -> bool:
    """Whether nobody on the way to `server` sees what is sent there."""
    return urlsplit(server).scheme == "https" or is_this_machine(server)
