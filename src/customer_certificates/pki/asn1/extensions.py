"""Reads the extensions of certificates (RFC 5280, 4.2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.x509 import ObjectIdentifier

from ...errors import Severity
from . import der
from .der import NotDer, Part

SUBJECT_ALT_NAME, NAME_CONSTRAINTS, POLICY_CONSTRAINTS = "2.5.29.17", "2.5.29.30", "2.5.29.36"
_SUBJECT_KEY, _KEY_USAGE, _BASIC_CONSTRAINTS = "2.5.29.14", "2.5.29.15", "2.5.29.19"
_ISSUER_NAMES, _FRESHEST_CRL, _SUBJECT_ACCESS = "2.5.29.18", "2.5.29.46", "1.3.6.1.5.5.7.1.11"
# Chromium and Safari reject public certificates without timestamps, but servers may send them too.
_TIMESTAMPS = "1.3.6.1.4.1.11129.2.4.2"

_AUTHORITY_KEY_IDENTIFIER = 0x80
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_NETSCAPE_SERVER = 0x40
_MOST_PATH_LENGTH = 255
# Real certificates have about ten. Each may cause a finding.
_MOST_EXTENSIONS = 100


class RawExtension(NamedTuple):
    """An undecoded extension: the DER in its OCTET STRING."""

    critical: bool
    value: bytes


class Oddity(NamedTuple):
    """An oddity of one extension: a clause, and whether clients reject it.

    error: at least one does. warning: some reject a certificate without the extension. info: none.
    """

    oid: str
    text: str
    severity: Severity
    is_unread: bool = False


class KeyUsage(NamedTuple):
    """The bits of RFC 5280, 4.2.1.3, in their order."""

    digital_signature: bool
    content_commitment: bool
    key_encipherment: bool
    data_encipherment: bool
    key_agreement: bool
    key_cert_sign: bool
    crl_sign: bool
    encipher_only: bool
    decipher_only: bool


class GeneralName(NamedTuple):
    """A name of subjectAltName: its tag ([2] DNS is 0x82, [7] IP address 0x87) and its content."""

    tag: int
    content: bytes


@dataclass(slots=True)
class Extensions:
    """The extensions of one certificate: decoded values, and oddities.

    `raw` has all of them by OID, in order; of a duplicate, only the first.
    """

    raw: dict[str, RawExtension] = field(default_factory=dict)
    is_ca: bool = False
    path_length: int | None = None
    key_usage: KeyUsage | None = None
    eku: frozenset[ObjectIdentifier] | None = None
    is_netscape_server: bool = True
    tls_features: frozenset[int] = frozenset()
    aki: bytes | None = None
    ski: bytes | None = None
    alternative_names: tuple[GeneralName, ...] = ()
    oddities: list[Oddity] = field(default_factory=list)

    def report(
        self, oid: str, text: str, severity: Severity = "error", *, is_unread: bool = False
    ) -> None:
        """Adds an oddity."""
        self.oddities.append(Oddity(oid, text, severity, is_unread))


def read_extensions(data: bytes, at: int, end: int) -> Extensions:
    """Returns the extensions in the SEQUENCE from `at` to `end` of `data`.

    Raises NotDer if it is not a list of extensions. The content of an extension may be anything.
    """
    tag, start, stop = der.part_at(data, at, end)
    if tag != der.SEQUENCE or stop != end:
        raise NotDer("it has another type")
    parts = der.parts(data, start, stop)
    if len(parts) > _MOST_EXTENSIONS:
        raise NotDer(f"there are more than {_MOST_EXTENSIONS}")
    extensions = Extensions()
    for _, inner_start, inner_stop in parts:
        _add(extensions, data, der.parts(data, inner_start, inner_stop))
    for oid, extension in extensions.raw.items():
        if oid in _DECODERS:
            _decode(extensions, oid, extension.value)
    return extensions


def _add(extensions: Extensions, data: bytes, inner: list[Part]) -> None:
    if not 2 <= len(inner) <= 3 or inner[-1][0] != der.OCTET_STRING:
        raise NotDer("an extension lacks its value")
    oid = der.oid(data, inner[0])
    critical = len(inner) == 3 and der.boolean(data, inner[1])
    if len(inner) == 3 and data[inner[1][1]] != 0xFF:
        extensions.report(oid, "encodes its critical flag in a way that DER forbids")
    if oid in extensions.raw:
        extensions.report(oid, "occurs twice; only the first one was read")
        return
    _, start, stop = inner[-1]
    extensions.raw[oid] = RawExtension(critical, data[start:stop])


def _decode(extensions: Extensions, oid: str, value: bytes) -> None:
    try:
        _DECODERS[oid][1](extensions, value)
    except NotDer as error:
        severity: Severity = "error"
        if oid == _TIMESTAMPS:
            severity = "warning"
        elif oid in _UNUSED:
            severity = "info"
        extensions.report(oid, f"cannot be read ({error})", severity, is_unread=True)


def _basic_constraints(extensions: Extensions, value: bytes) -> None:
    inner = der.members(value)
    is_ca = False
    if inner and inner[0][0] == der.BOOLEAN:
        is_ca = der.boolean(value, inner[0])
        _check_boolean(extensions, value[inner[0][1]])
        del inner[0]
    if len(inner) > 1:
        raise NotDer("it has too many parts")
    if inner:
        extensions.path_length = der.integer(value, inner[0])
        if extensions.path_length < 0:
            extensions.path_length = None
            raise NotDer("its path length is negative")
        if extensions.path_length > _MOST_PATH_LENGTH:
            text = f"has a path length above {_MOST_PATH_LENGTH}, which browsers do not read"
            extensions.report(_BASIC_CONSTRAINTS, text)
        if not is_ca:
            text = "has a path length, although the certificate is not a CA certificate"
            extensions.report(_BASIC_CONSTRAINTS, text, "info")
    extensions.is_ca = is_ca


def _check_boolean(extensions: Extensions, octet: int) -> None:
    """Reports a boolean that DER forbids. DER omits FALSE, and encodes TRUE as 255."""
    if octet == 0:
        text = "has an explicit CA:FALSE, which DER omits"
        extensions.report(_BASIC_CONSTRAINTS, text, "info")
    elif octet != 0xFF:
        extensions.report(_BASIC_CONSTRAINTS, "encodes CA:TRUE in a way that DER forbids")


def _key_usage(extensions: Extensions, value: bytes) -> None:
    start, stop = der.whole(value, der.BIT_STRING)
    if stop == start or value[start] > 7:
        raise NotDer("it is not a BIT STRING")
    unused = (1 << value[start]) - 1
    if value[stop - 1] & unused and stop - start > 1:
        extensions.report(_KEY_USAGE, "has unused bits set, which browsers reject")
    octets = value[start + 1 : stop - 1] + bytes([value[stop - 1] & ~unused & 0xFF])
    bits = int.from_bytes(octets[:2].ljust(2, b"\0"))
    usage = KeyUsage(*(bool(bits & 0x8000 >> place) for place in range(9)))
    if (usage.encipher_only or usage.decipher_only) and not usage.key_agreement:
        text = "has encipherOnly or decipherOnly without keyAgreement, which means nothing"
        extensions.report(_KEY_USAGE, text, "info")
    extensions.key_usage = usage


def _purposes(extensions: Extensions, value: bytes) -> None:
    extensions.eku = frozenset(_identifier(der.oid(value, part)) for part in _some_members(value))


def _identifier(dotted: str) -> ObjectIdentifier:
    try:
        return ObjectIdentifier(dotted)
    except ValueError:
        raise NotDer("an OBJECT IDENTIFIER is too large") from None


def _authority_key(extensions: Extensions, value: bytes) -> None:
    for tag, start, stop in der.members(value):
        if tag == _AUTHORITY_KEY_IDENTIFIER:
            extensions.aki = value[start:stop]


def _subject_key(extensions: Extensions, value: bytes) -> None:
    start, stop = der.whole(value, der.OCTET_STRING)
    extensions.ski = value[start:stop]


def _alternative_names(extensions: Extensions, value: bytes) -> None:
    extensions.alternative_names = tuple(
        GeneralName(tag, value[start:stop]) for tag, start, stop in der.members(value)
    )


def _policies(_: Extensions, value: bytes) -> None:
    """Reads policies. Their qualifiers may be anything: no client reads them."""
    policies = set()
    for inner in _sequences(value):
        if not 1 <= len(inner) <= 2:
            raise NotDer("a policy does not have one or two parts")
        policy = der.oid(value, inner[0])
        if policy in policies:
            raise NotDer("a policy occurs twice")
        policies.add(policy)


def _access(_: Extensions, value: bytes) -> None:
    for inner in _sequences(value):
        if len(inner) != 2:
            raise NotDer("an access description does not have two parts")
        der.oid(value, inner[0])


def _name_constraints(_: Extensions, value: bytes) -> None:
    for tag, start, stop in _some_members(value):
        if tag not in (0xA0, 0xA1) or start == stop:
            raise NotDer("it has neither permitted nor excluded names")
        for tree, at, end in der.parts(value, start, stop):
            subtree = der.parts(value, at, end) if tree == der.SEQUENCE else []
            if len(subtree) != 1:
                # A subtree must not have a minimum or maximum.
                raise NotDer("one of its names is missing, or has a minimum or maximum")
            _check_subtree(value, subtree[0])


def _check_subtree(value: bytes, name: Part) -> None:
    """Rejects invalid names in nameConstraints, as Chromium does."""
    tag, start, stop = name
    octets = value[start:stop]
    if tag == _DNS_NAME and not octets.isascii():
        raise NotDer("a DNS name is not ASCII")
    if tag == _IP_ADDRESS:
        half = len(octets) // 2
        mask = int.from_bytes(octets[half:])
        gap = (1 << 8 * half) - 1 - mask
        if len(octets) not in (8, 32) or gap & (gap + 1):
            raise NotDer("an IP address is not followed by its mask")


def _mappings(_: Extensions, value: bytes) -> None:
    for inner in _sequences(value):
        if len(inner) != 2:
            raise NotDer("a mapping does not have two parts")
        for part in inner:
            der.oid(value, part)


def _some_members(value: bytes) -> list[Part]:
    inner = der.members(value)
    if not inner:
        raise NotDer("it is empty")
    return inner


def _inhibit_any(_: Extensions, value: bytes) -> None:
    if der.integer(value, (der.INTEGER, *der.whole(value, der.INTEGER))) < 0:
        raise NotDer("it is negative")


def _tls_features(extensions: Extensions, value: bytes) -> None:
    extensions.tls_features = frozenset(der.integer(value, part) for part in der.members(value))


def _netscape_type(extensions: Extensions, value: bytes) -> None:
    start, stop = der.whole(value, der.BIT_STRING)
    if stop - start < 2:
        raise NotDer("it is empty")
    extensions.is_netscape_server = bool(value[start + 1] & _NETSCAPE_SERVER)


def _timestamps(_: Extensions, value: bytes) -> None:
    """Reads timestamps, RFC 6962, 3.3: a list of lengths and bytes within the OCTET STRING."""
    at, end = der.whole(value, der.OCTET_STRING)
    at += 2
    if at >= end or int.from_bytes(value[at - 2 : at]) != end - at:
        raise NotDer("its length is wrong")
    while at < end:
        length = int.from_bytes(value[at : at + 2])
        at += 2 + length
        if not length or at > end:
            raise NotDer("the length of a timestamp is wrong")


def _sequences(value: bytes) -> list[list[Part]]:
    """Returns the parts of each SEQUENCE in the SEQUENCE `value`, which must not be empty."""
    inner = der.members(value)
    if not inner or any(tag != der.SEQUENCE for tag, _, _ in inner):
        raise NotDer("it is not a list")
    return [der.parts(value, start, stop) for _, start, stop in inner]


_DECODERS: Mapping[str, tuple[str, Callable[[Extensions, bytes], object]]] = {
    _SUBJECT_KEY: ("subjectKeyIdentifier", _subject_key),
    _KEY_USAGE: ("keyUsage", _key_usage),
    SUBJECT_ALT_NAME: ("subjectAltName", _alternative_names),
    _ISSUER_NAMES: ("issuerAltName", lambda _, value: _some_members(value)),
    _BASIC_CONSTRAINTS: ("basicConstraints", _basic_constraints),
    NAME_CONSTRAINTS: ("nameConstraints", _name_constraints),
    "2.5.29.31": ("cRLDistributionPoints", lambda _, value: _sequences(value)),
    "2.5.29.32": ("certificatePolicies", _policies),
    "2.5.29.33": ("policyMappings", _mappings),
    "2.5.29.35": ("authorityKeyIdentifier", _authority_key),
    POLICY_CONSTRAINTS: ("policyConstraints", lambda _, value: _some_members(value)),
    "2.5.29.37": ("extendedKeyUsage", _purposes),
    _FRESHEST_CRL: ("freshestCRL", lambda _, value: _sequences(value)),
    "2.5.29.54": ("inhibitAnyPolicy", _inhibit_any),
    "1.3.6.1.5.5.7.1.1": ("authorityInfoAccess", _access),
    _SUBJECT_ACCESS: ("subjectInfoAccess", _access),
    "1.3.6.1.5.5.7.1.24": ("tlsFeature", _tls_features),
    "2.16.840.1.113730.1.1": ("Netscape's certificate type", _netscape_type),
    _TIMESTAMPS: ("the list of signed certificate timestamps", _timestamps),
}

# Clients read none of these.
_UNUSED = frozenset({_ISSUER_NAMES, _FRESHEST_CRL, _SUBJECT_ACCESS})

NAMES = {oid: name for oid, (name, _) in _DECODERS.items()}
