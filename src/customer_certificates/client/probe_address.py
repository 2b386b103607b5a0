"""The address of a server to probe, as users write it."""

import ipaddress
import re
from contextlib import suppress
from typing import NamedTuple

_DEFAULT_PORT = 443
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# An all-numeric last label would make an incomplete IPv4 address.
_HOSTNAME = re.compile(rf"({_LABEL}\.)*(?![0-9]+$){_LABEL}", re.IGNORECASE | re.ASCII)


class Address(NamedTuple):
    """The host and port of a server that terminates TLS."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str) -> Address:
    """Parses `host`, `host:port`, `[IPv6]:port` or an IPv6 address; the port defaults to 443.

    Raises ValueError.
    """
    with suppress(ValueError):
        return Address(str(ipaddress.IPv6Address(text)), _DEFAULT_PORT)
    host, separator, port = text.rpartition(":")
    if text.endswith("]") or not separator:
        host, port = text, str(_DEFAULT_PORT)
    if not _is_host(host) or not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise _not_an_address(text)
    if not 0 < int(port) < 65536:
        raise _not_an_address(text)
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _is_host(host: str) -> bool:
    with suppress(ValueError):
        if host.startswith("[") and host.endswith("]"):
            ipaddress.IPv6Address(host[1:-1])
        else:
            ipaddress.IPv4Address(host)
        return True
    return len(host) <= 253 and bool(_HOSTNAME.fullmatch(host.removesuffix(".")))


def _not_an_address(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is not an address. Use host, host:port or [IPv6]:port, like www.example.com:443 "
        "(internationalized names as xn--…)."
    )
