"""Parses target URLs strictly, as lax parsers may disagree on the host."""

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

import idna

from .errors import TargetForbidden

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{1,5}))?")
# As in DNS, and with underscores, which resolvers and Docker use.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label that makes the whole a number to some: https://url.spec.whatwg.org/#ends-in-a-number-checker
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_EXAMPLE = "Write it like https://hooks.example.com/path."


class Target(NamedTuple):
    """A target: `host` is a name in lower case or an address."""

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None

    @property
    def authority(self) -> str:
        """The value of the Host header (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_localhost(self) -> bool:
        """Whether the name is localhost on every machine (RFC 6761, 6.3)."""
        return self.host == "localhost" or self.host.endswith(".localhost")


@lru_cache(maxsize=1024)
def parse(url: str) -> Target:
    """Parses `url`. Raises TargetForbidden unless it is a plain http or https URL (RFC 3986)."""
    if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
        raise TargetForbidden(
            "The URL has an invalid character: a space, a backslash, a control character or a "
            "non-ASCII character.",
            _in_ascii(url),
        )
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in _PORTS or not separator:
        raise TargetForbidden("The URL does not begin with https:// or http://.", _EXAMPLE)
    authority, path = _split(rest)
    if "@" in authority:
        raise TargetForbidden(
            "The URL has a user or a password before its host.",
            "Remove them. The receiver can verify the signature of each delivery instead.",
        )
    if "#" in path:
        raise TargetForbidden("The URL has a fragment, which is never sent.", "Remove it.")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise TargetForbidden("The URL has no valid host and port.", _EXAMPLE)
    host, port = parts[1].lower(), int(parts[2] or _PORTS[scheme])
    if not 0 < port < 65536:
        raise TargetForbidden("The URL's port is not from 1 to 65535.", "Use the receiver's port.")
    address = _address(host)
    return Target(scheme, str(address) if address else host, port, path, address)


def _split(rest: str) -> tuple[str, str]:
    at = re.search("[/?#]", rest)
    authority, path = (rest[: at.start()], rest[at.start() :]) if at else (rest, "")
    return authority, path if path.startswith("/") else f"/{path}"


def _address(host: str) -> Address | None:
    """Returns the address in `host`; None if it is a name. Raises TargetForbidden otherwise."""
    if host.startswith("["):
        try:
            return ipaddress.IPv6Address(_without_zone(host[1:-1]))
        except ValueError:
            raise TargetForbidden(
                "The URL's host is in brackets but is not an IPv6 address.",
                "Write it like https://[2001:4860::1]/path, without a zone.",
            ) from None
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(host) > 253:
        raise TargetForbidden(
            "The URL's host is not a hostname.",
            f"A hostname has letters, digits and hyphens between single dots. {_EXAMPLE}",
        )
    if not _NUMBER.fullmatch(labels[-1]):
        return None
    try:
        return ipaddress.IPv4Address(host)
    except ValueError:
        raise TargetForbidden(
            "The URL's host is a number but not a dotted IPv4 address.",
            "Write the address as four decimal numbers, or use a hostname.",
        ) from None


def _without_zone(text: str) -> str:
    if "%" in text:
        raise ValueError(text)
    return text


def _in_ascii(url: str) -> str:
    """Returns a hint, with the host in ASCII if only that is wrong."""
    found = re.fullmatch(r"https?://([^/?#@:\[\]\\\s]+)([^\\\s]*)", url)
    if found and not found[1].isascii():
        try:
            return f"Write the host in ASCII: {idna.encode(found[1], strict=True).decode()}."
        except idna.IDNAError:
            pass
    return "Percent-encode the path. Write an international hostname as xn--…."
