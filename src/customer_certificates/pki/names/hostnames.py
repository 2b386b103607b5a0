"""Normalizes hostnames and IP addresses, and matches them with certificates."""

import ipaddress
import re
from collections.abc import Sequence

import idna

from ...errors import Finding, Severity
from ..asn1.extensions import GeneralName
from ..text import listed

# Limit of names in one certificate. The largest of public CAs have a few hundred.
MOST_HOSTNAMES = 1000

# RFC 1035, in octets: of a name without its last dot, and of one label.
_MOST_OCTETS = 253
_MOST_LABEL_OCTETS = 63

# Underscores are not allowed in hostnames, but all clients resolve and match them. The same is true
# of hyphens at the ends of a label, except the last label.
_LABEL = rf"[a-z0-9_-]{{1,{_MOST_LABEL_OCTETS}}}"
_HOSTNAME = re.compile(rf"(?:{_LABEL}\.)*(?!-){_LABEL}(?<!-)")
_EDGE_HYPHEN = re.compile(r"(?:^|\.)-|-(?:\.|$)")

# The tags of RFC 5280, 4.2.1.6.
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def normalise(hostname: str) -> str | None:
    """Returns the normalized form of `hostname`; None if it is not a hostname.

    Lower case, Unicode as IDNA 2008 A-labels (RFC 5891, mapped as in UTS #46), without a trailing
    dot. `*` is only allowed as the whole leftmost label above at least two others (RFC 9525, 6.3,
    and stricter rules of clients). IP addresses are formatted as in RFC 5952. A-labels stay
    unchanged.
    """
    # Check the length first: mapping and punycode may take quadratic time.
    if len(hostname) > _MOST_OCTETS + 1:
        return None
    mapped = hostname.lower() if hostname.isascii() else _to_ascii(hostname)
    address = _address(mapped)
    if address:
        return written(address)
    name = mapped.removesuffix(".")
    base = name.removeprefix("*.")
    if len(name) > _MOST_OCTETS or not _HOSTNAME.fullmatch(base):
        return None
    # A name that ends in a number would be parsed as an IP address (WHATWG URL, 3.6).
    if base.rpartition(".")[2].isdigit() or (base != name and "." not in base):
        return None
    return name


def server_name(name: str) -> str | None:
    """Returns the normalized hostname of a TLS client (RFC 6066, 3); None if invalid.

    IP addresses and wildcards are invalid there.
    """
    hostname = normalise(name)
    is_server = hostname and not hostname.startswith("*") and not _address(hostname)
    return hostname if is_server else None


def address_of(text: str) -> str | None:
    """Returns the IP address `text` in its normalized form; None if it is not one."""
    # The zone of a link-local IPv6 address is not part of the address.
    name = normalise(text.partition("%")[0])
    return name if name and _address(name) else None


def covers(pattern: str, hostname: str) -> bool:
    """Returns whether a certificate for `pattern` matches `hostname`, both normalized (RFC 9525,
    6.3).

    A wildcard matches exactly one label. It also matches itself, and never an IP address.
    """
    if pattern == hostname:
        return True
    label, dot, parent = hostname.partition(".")
    return pattern[:2] == "*." and dot == "." and label != "*" and parent == pattern[2:]


def wildcard_of(hostname: str) -> str:
    """Returns the wildcard that covers `hostname`; `hostname` itself if there is none."""
    label, dot, parent = hostname.partition(".")
    return f"*.{parent}" if dot and label != "*" else hostname


def written(address: _Address) -> str:
    """Formats `address` as in RFC 5952, with an embedded IPv4 address in decimal (section 5)."""
    # Python 3.13 changed this format. Stored values must not depend on the version.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


def hostnames_of(
    san: Sequence[GeneralName], field: str
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Returns the names of `san` that clients match, and findings about the others.

    The names are normalized and unique, at most MOST_HOSTNAMES. The findings are `san_invalid`.
    Other types of names are ignored.
    """
    names: dict[str, None] = {}
    faults: dict[tuple[Severity, str], list[str]] = {}
    relevant = [name for name in san if name.tag in (_DNS_NAME, _IP_ADDRESS)]
    for tag, content in relevant[:MOST_HOSTNAMES]:
        text, name, fault = _dns_name(content) if tag == _DNS_NAME else _ip_address(content)
        if name:
            names[name] = None
        if fault:
            faults.setdefault(fault, []).append(text)
    findings = [_invalid(field, *fault, listed(values)) for fault, values in faults.items()]
    if len(relevant) > MOST_HOSTNAMES:
        findings.append(_too_many(field, len(relevant)))
    return tuple(names), tuple(findings)


def _to_ascii(hostname: str) -> str:
    """Returns the mapped `hostname` in ASCII; empty if IDNA does not permit it."""
    try:
        labels = idna.uts46_remap(hostname, std3_rules=False).split(".")
        # An A-label is longer than its Unicode form, so checking first rejects no valid name.
        if any(len(label) > _MOST_LABEL_OCTETS for label in labels):
            return ""
        return ".".join(
            label if label.isascii() else idna.alabel(label).decode() for label in labels
        )
    except UnicodeError:
        return ""


def _address(text: str) -> _Address | None:
    # Most names are not addresses, and an exception takes longer than this check. A zone, after a
    # %, is local to one machine (RFC 4007).
    if not (text[-1:].isdigit() or ":" in text) or "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


# A name for display, a name to store, and a fault.
_NameRead = tuple[str, str | None, tuple[Severity, str] | None]


def _dns_name(content: bytes) -> _NameRead:
    text = content.decode("latin-1")
    name = normalise(text) if text.isascii() else None
    if name is None:
        return text, None, ("error", _reason_invalid(text))
    if _address(name):
        fault = "is an IP address written as a DNS name, which no client matches"
        return text, None, ("error", fault)
    reason = _unmatched_reason(text, name)
    return text, name, ("warning", reason) if reason else None


def _unmatched_reason(text: str, name: str) -> str | None:
    """Returns why some clients reject the name."""
    if text.endswith("."):
        return "ends in a dot, which some clients do not match"
    if _EDGE_HYPHEN.search(name):
        return "has a label that begins or ends with a hyphen, which Firefox does not match"
    if "_" in name:
        return "has an underscore, which public CAs must not certify"
    if "." not in name:
        return "has no dot, so it is only valid in a local network"
    return None


def _ip_address(content: bytes) -> _NameRead:
    if len(content) in (4, 16):
        name = written(ipaddress.ip_address(content))
        return name, name, None
    if len(content) in (8, 32):
        half = len(content) // 2
        address, mask = (
            ipaddress.ip_address(octets) for octets in (content[:half], content[half:])
        )
        text = f"{written(address)}/{written(mask)}"
        return text, None, ("error", "is a network, where an IP address was expected")
    return content.hex(), None, ("error", "is not an IP address, which has 4 or 16 octets")


def _reason_invalid(value: str) -> str:
    if not value:
        return "is empty"
    if not value.isascii():
        return "is not in ASCII (RFC 5890 has A-labels, xn--…, for that)"
    if any(character.isspace() or not character.isprintable() for character in value):
        return "contains a space or a control character"
    if "*" in value:
        return "has a wildcard that is not the first label above two others"
    return "is not a hostname (RFC 1123)"


def _invalid(field: str, severity: Severity, fault: str, values: str) -> Finding:
    hint = "Have the certificate reissued with the name as clients write it, or without it."
    return Finding("san_invalid", field, f"subjectAltName: {values} {fault}.", hint, severity)


def _too_many(field: str, count: int) -> Finding:
    detail = f"subjectAltName has {count} names. The limit is {MOST_HOSTNAMES}."
    return Finding("san_invalid", field, detail, "Divide the names among several certificates.")
