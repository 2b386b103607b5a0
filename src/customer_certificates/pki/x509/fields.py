"""Decodes the fields of a certificate (RFC 5280, 4.1)."""

from datetime import UTC, datetime
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import HashAlgorithm

from ..asn1 import der, signatures
from ..asn1.der import NotDer, Part
from ..asn1.extensions import Extensions, read_extensions
from .distinguished_names import DistinguishedName, read_name

_VERSION, _EXTENSIONS = 0xA0, 0xA3
_OPTIONAL = frozenset({0x81, 0x82, _EXTENSIONS})
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


class Malformed(Exception):  # noqa: N818
    """The certificate cannot be read. `part` is the malformed part; the message says why."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(reason)
        self.part = part


class Signature(NamedTuple):
    """The signature of a certificate: `octets` sign `content`.

    `digest` is None if it is unknown or there is none. `is_named_once`: both places that name the
    algorithm name the same one (RFC 5280, 4.1.1.2). `has_odd_parameters`: an ECDSA signature has
    parameters.
    """

    content: bytes
    octets: bytes
    oid: str
    digest: HashAlgorithm | None
    is_named_once: bool
    has_odd_parameters: bool


class Fields(NamedTuple):
    """The decoded fields. `subject`, `issuer` and `spki` are unchanged DER. Times are in UTC."""

    version: int
    serial: int
    subject: bytes
    issuer: bytes
    subject_read: DistinguishedName
    issuer_read: DistinguishedName
    not_before: datetime
    not_after: datetime
    signature: Signature
    spki: bytes
    key_oid: str
    extensions: Extensions


def read_fields(data: bytes) -> Fields:
    """Returns the fields of the certificate `data` (DER). Raises Malformed."""
    part = "its structure"
    try:
        content, algorithm, signature = _outer(data)
        places = _places(data, content)
        part = "its version or serial number"
        version = _version(data, places.version)
        serial = der.integer(data, places.serial)
        part = "its subject or issuer"
        subject, issuer = _slice(data, places.subject), _slice(data, places.issuer)
        names = read_name(subject), read_name(issuer)
        part = "its validity"
        validity = _validity(data, places.validity)
        part = "its signature algorithm"
        oid, digest = signatures.read_algorithm(data, algorithm)
        encoded = _slice(data, algorithm)
        is_named_once = encoded == _slice(data, places.algorithm)
        is_odd = signatures.has_odd_parameters(oid, encoded)
        signed = Signature(_slice(data, content), signature, oid, digest, is_named_once, is_odd)
        part = "its public key"
        spki, key_oid = _slice(data, places.spki), _key_oid(data, places.spki)
        part = "its extensions"
        extensions = (
            read_extensions(data, *places.extensions[1:]) if places.extensions else Extensions()
        )
    except NotDer as error:
        raise Malformed(part, str(error)) from None
    return Fields(
        version, serial, subject, issuer, *names, *validity, signed, spki, key_oid, extensions
    )


class _Places(NamedTuple):
    """The places of the fields of a TBSCertificate."""

    version: Part | None
    serial: Part
    algorithm: Part
    issuer: Part
    validity: Part
    subject: Part
    spki: Part
    extensions: Part | None


def _outer(data: bytes) -> tuple[Part, Part, bytes]:
    """Returns TBSCertificate, signatureAlgorithm and the signature."""
    inner = der.members(data)
    tags = [tag for tag, _, _ in inner]
    if tags[:1] == [der.OID]:
        raise NotDer("it is a PKCS#7 bundle, which is not supported here")
    if tags != [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
        raise NotDer("it does not have the parts of a certificate")
    content, algorithm, (_, start, stop) = inner
    if start == stop or data[start] != 0:
        raise NotDer("its signature is missing")
    return content, algorithm, data[start + 1 : stop]


def _places(data: bytes, content: Part) -> _Places:
    inner = der.parts(data, content[1], content[2])
    version = inner.pop(0) if inner and inner[0][0] == _VERSION else None
    if [part[0] for part in inner[:6]] != [der.INTEGER, *[der.SEQUENCE] * 5]:
        raise NotDer("it does not have the fields of a certificate")
    serial, algorithm, issuer, validity, subject, spki = inner[:6]
    # Unused unique identifiers may precede the extensions.
    tags = [part[0] for part in inner[6:]]
    if tags != sorted(set(tags)) or not _OPTIONAL.issuperset(tags):
        raise NotDer("it does not have the fields of a certificate")
    extensions = inner[-1] if tags and tags[-1] == _EXTENSIONS else None
    return _Places(version, serial, algorithm, issuer, validity, subject, spki, extensions)


def _slice(data: bytes, part: Part) -> bytes:
    """Returns the unchanged DER of the element at `part`.

    Names are compared, and keys are pinned, in this form.
    """
    _, start, stop = part
    # The length has its shortest form, so the size of the header is known.
    size = stop - start
    head = 2 if size < 0x80 else 2 + (size.bit_length() + 7) // 8
    return data[start - head : stop]


def _version(data: bytes, part: Part | None) -> int:
    number = 0 if part is None else der.integer(data, der.part_at(data, *part[1:]))
    if number not in (0, 1, 2):
        raise NotDer("the version is unknown")
    return number + 1


def _validity(data: bytes, part: Part) -> tuple[datetime, datetime]:
    inner = der.parts(data, part[1], part[2])
    if len(inner) != 2:
        raise NotDer("it does not have two times")
    return _time(data, inner[0]), _time(data, inner[1])


def _time(data: bytes, part: Part) -> datetime:
    """Returns a time (RFC 5280, 4.1.2.5); GeneralizedTime is accepted for all years."""
    tag, start, stop = part
    octets = data[start:stop]
    if tag == _UTC_TIME and len(octets) == 13:
        century = b"19" if octets >= b"5" else b"20"
        octets = century + octets
    elif tag != _GENERALIZED_TIME or len(octets) != 15:
        raise NotDer("a time has the wrong format")
    digits = octets[:14]
    if not digits.isdigit() or octets[14:] != b"Z":
        raise NotDer("a time has the wrong format")
    month_to_second = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    try:
        return datetime(int(digits[:4]), *month_to_second, tzinfo=UTC)
    except ValueError:
        raise NotDer("a time does not exist") from None


def _key_oid(data: bytes, part: Part) -> str:
    inner = der.parts(data, part[1], part[2])
    if [tag for tag, _, _ in inner] != [der.SEQUENCE, der.BIT_STRING]:
        raise NotDer("it does not have the parts of a public key")
    _, start, stop = inner[0]
    return der.oid(data, der.part_at(data, start, stop))
