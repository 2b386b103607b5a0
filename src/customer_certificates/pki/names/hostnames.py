"""Hostnames and IP addresses: one way to write each, and which certificate covers which."""

import ipaddress
import re
from collections.abc import Sequence

import idna

from ...errors import Finding, Severity
from ..asn1.extensions import GeneralName
from ..text import listed

# What one certificate may claim. The largest that public authorities issue have a few hundred.
MOST_HOSTNAMES = 1000

# RFC 1035, in octets: of a name without its last dot, and of one label.
_MOST_OCTETS = 253
_MOST_LABEL_OCTETS = 63

# Underscores are no part of a hostname, and yet are resolved and matched by every client.
# So are hyphens at a label's ends, but for those of the last.
_LABEL = rf"[a-z0-9_-]{{1,{_MOST_LABEL_OCTETS}}}"
_HOSTNAME = re.compile(rf"(?:{_LABEL}\.)*(?!-){_LABEL}(?<!-)")
_EDGE_HYPHEN = re.compile(r"(?:^|\.)-|-(?:\.|$)")

# The tags of RFC 5280, 4.2.1.6.
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def normalise(hostname: str) -> str | None:
    """The one way in which `hostname` is stored and compared; None where it is not a hostname.

    Lower case, Unicode as IDNA 2008 A-labels (RFC 5891, mapped as UTS #46 says), without a last
    dot. `*` only as the whole leftmost label above at least two others (RFC 9525, 6.3, and what
    clients demand beyond it). IP addresses as RFC 5952 writes them. A-labels are taken as they are.
    """
    # The length is looked at first: mapping and punycode may cost its square.
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
    # A name that ends in a number would be read as an IP address (WHATWG URL, 3.6).
    if base.rpartition(".")[2].isdigit() or (base != name and "." not in base):
        return None
    return name


def server_name(sent: str) -> str | None:
    """The hostname that the client of a TLS handshake sent (RFC 6066, 3), normalised; None where it
    is none. Addresses and wildcards are none there."""
    name = normalise(sent)
    return None if name is None or name.startswith("*") or _address(name) else name


def address_of(sent: str) -> str | None:
    """The IP address that `sent` is, as certificates have it; None if it is none."""
    # Of an IPv6 address that is good on one link only, the link is no part.
    name = normalise(sent.partition("%")[0])
    return name if name and _address(name) else None


def covers(pattern: str, hostname: str) -> bool:
    """Whether a certificate for `pattern` is one for `hostname`; both normalised (RFC 9525, 6.3).

    A wildcard stands for exactly one label; it covers itself, and no IP address.
    """
    if pattern == hostname:
        return True
    label, dot, rest = hostname.partition(".")
    return pattern[:2] == "*." and dot == "." and label != "*" and rest == pattern[2:]


def wildcard_of(hostname: str) -> str:
    """The wildcard that covers `hostname`; itself where there is none."""
    first, dot, rest = hostname.partition(".")
    return f"*.{rest}" if dot and first != "*" else hostname


def written(address: _Address) -> str:
    """`address` as RFC 5952 writes it; an embedded IPv4 address stays legible (section 5)."""
    # Python changed how it writes these in 3.13, and what is stored must not depend on that.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


def hostnames_of(
    san: Sequence[GeneralName], field: str
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """The names of `san` that clients match, normalised and without doubles, at most
    MOST_HOSTNAMES; and what is wrong with the others (`san_invalid`). Other kinds are passed over.
    """
    names: dict[str, None] = {}
    faults: dict[tuple[Severity, str], list[str]] = {}
    sent = [one for one in san if one.tag in (_DNS_NAME, _IP_ADDRESS)]
    for tag, content in sent[:MOST_HOSTNAMES]:
        text, name, fault = _dns_name(content) if tag == _DNS_NAME else _ip_address(content)
        if name:
            names[name] = None
        if fault:
            faults.setdefault(fault, []).append(text)
    findings = [_invalid(field, *fault, listed(values)) for fault, values in faults.items()]
    if len(sent) > MOST_HOSTNAMES:
        findings.append(_too_many(field, len(sent)))
    return tuple(names), tuple(findings)


def _to_ascii(hostname: str) -> str:
    """The mapped `hostname`; empty where IDNA has none."""
    try:
        labels = idna.uts46_remap(hostname, std3_rules=False).split(".")
        # An A-label is longer than what it stands for, so nothing is lost by looking first.
        if any(len(label) > _MOST_LABEL_OCTETS for label in labels):
            return ""
        return ".".join(one if one.isascii() else idna.alabel(one).decode() for one in labels)
    except UnicodeError:
        return ""


def _address(text: str) -> _Address | None:
    # Most names are none, and an exception takes longer than a look. A zone, after a %, means
    # something on one machine only (RFC 4007).
    if not (text[-1:].isdigit() or ":" in text) or "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


# A name as it is shown, as it is stored, and what is wrong with it.
_NameRead = tuple[str, str | None, tuple[Severity, str] | None]


def _dns_name(content: bytes) -> _NameRead:
    text = content.decode("latin-1")
    name = normalise(text) if text.isascii() else None
    if name is None:
        return text, None, ("error", _why_invalid(text))
    if _address(name):
        fault = "is an IP address written as a DNS name, which no client matches"
        return text, None, ("error", fault)
    return text, name, _surprise(text, name)


def _surprise(text: str, name: str) -> tuple[Severity, str] | None:
    """A fault that some clients refuse the name for."""
    if text.endswith("."):
        return "warning", "ends in a dot, which some clients do not match"
    if _EDGE_HYPHEN.search(name):
        return (
            "warning",
            "has a label that begins or ends with a hyphen, which Firefox does not match",
        )
    if "_" in name:
        return "warning", "has an underscore, which public authorities may not certify"
    if "." not in name:
        return "warning", "has no dot, so it means something in one network only"
    return None


def _ip_address(content: bytes) -> _NameRead:
    if len(content) in (4, 16):
        name = written(ipaddress.ip_address(content))
        return name, name, None
    if len(content) in (8, 32):
        half = len(content) // 2
        address, mask = (ipaddress.ip_address(one) for one in (content[:half], content[half:]))
        text = f"{written(address)}/{written(mask)}"
        return text, None, ("error", "is a network, where an IP address was expected")
    return content.hex(), None, ("error", "is no IP address: those have 4 octets or 16")


def _why_invalid(value: str) -> str:
    if not value:
        return "is empty"
    if not value.isascii():
        return "is not in ASCII (RFC 5890 has A-labels, xn--…, for that)"
    if any(one.isspace() or not one.isprintable() for one in value):
        return "has a space or a control character in it"
    if "*" in value:
        return "has a wildcard elsewhere than as the first label above two others"
    return "is no hostname (RFC 1123)"


def _invalid(field: str, severity: Severity, fault: str, values: str) -> Finding:
    return Finding(
        "san_invalid",
        field,
        f"subjectAltName: {values} {fault}.",
        "Have the certificate issued again with the name as clients write it, or without it.",
        severity,
    )


def _too_many(field: str, count: int) -> Finding:
    return Finding(
        "san_invalid",
        field,
        f"subjectAltName has {count} names; {MOST_HOSTNAMES} are read.",
        "Divide the names among several certificates.",
    )
