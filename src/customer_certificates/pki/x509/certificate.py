"""Reads a certificate. All parts are read at once here, so later access never raises.

Clients accept certificates that strict parsers reject, so this package has its own reader. If one
part is malformed, the rest is read, and `findings` say what is wrong and which clients reject it.
"""

import base64
import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import ObjectIdentifier

from ...errors import Finding
from ..asn1 import der, signatures
from ..asn1.der import NotDer, Part
from ..asn1.extensions import SUBJECT_ALT_NAME, Extensions, KeyUsage, RawExtension, read_extensions
from ..keys.public_keys import key_algorithm, spki_of
from ..names.hostnames import hostnames_of
from ..submission import Leaf
from ..text import shown
from .distinguished_names import read_name
from .oddities import (
    about_extensions,
    about_names,
    about_san,
    about_version,
    key_malformed,
    unreadable,
)

_MOST_NAME_CHARACTERS = 1000
_MOST_REMEMBERED_OCTETS = 4096

_VERSION, _EXTENSIONS = 0xA0, 0xA3
_BEHIND = frozenset({0x81, 0x82, _EXTENSIONS})
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """A readable certificate. `findings` name the parts that could not be read.

    `field` and `number` say where the certificate came from: the first one in a field is number 1.
    `subject`, `issuer` and `spki` are the DER in the certificate; `fingerprint` is its SHA-256 in
    hexadecimal. OIDs are written with dots.

    `signature` signs `content`; both name an algorithm, and `is_signature_named_once` says whether
    it is the same (RFC 5280, 4.1.1.2). `digest` is None if it is unknown or there is none.
    `has_odd_signature_parameters`: an ECDSA signature has parameters.

    `public_key` is None if its algorithm (`key_oid`) is unknown or the key is malformed. `key_spki`
    is the SPKI derived from its private key, which may be encoded differently than `spki`.

    `extensions` has all of them by OID, in order; of a duplicate, only the first. `aki` and `ski`
    are the key identifiers of RFC 5280, 4.2.1.1 and 4.2.1.2. `eku` has the purposes; None means
    any. `is_netscape_server` is False if Netscape's certificate type excludes TLS servers.
    `hostnames` are normalized; `san_findings` report the invalid ones. Times are in UTC.
    """

    der: bytes
    field: str
    number: int
    fingerprint: str
    serial: int
    subject: bytes
    issuer: bytes
    subject_text: str
    issuer_text: str
    common_name: str | None
    spki: bytes
    key_spki: bytes | None
    key_oid: str
    public_key: CertificatePublicKeyTypes | None
    content: bytes
    signature: bytes
    signature_oid: str
    is_signature_named_once: bool
    digest: HashAlgorithm | None
    has_odd_signature_parameters: bool
    not_before: datetime
    not_after: datetime
    extensions: Mapping[str, RawExtension]
    is_ca: bool
    path_length: int | None
    key_usage: KeyUsage | None
    eku: frozenset[ObjectIdentifier] | None
    is_netscape_server: bool
    tls_features: frozenset[int]
    aki: bytes | None
    ski: bytes | None
    hostnames: tuple[str, ...]
    san_findings: tuple[Finding, ...]
    findings: tuple[Finding, ...]

    def is_valid(self, at: datetime) -> bool:
        """Returns whether `at` is within the validity, both ends included (RFC 5280, 4.1.2.5)."""
        return self.not_before <= at <= self.not_after

    def is_signed_by(self, issuer: "Certificate") -> bool:
        """Returns whether the key of `issuer` made the signature, without any other check."""
        algorithm = self.signature_oid, self.digest
        return self.is_signature_named_once and signatures.holds(
            issuer.public_key, self.signature, self.content, algorithm
        )


def read(der: bytes, field: str, number: int) -> Certificate | Finding:
    """Returns the certificate in `der`, or a finding if it cannot be read. Never raises.

    The finding is `pem_invalid` and says which part of certificate `number` of `field` cannot be
    read. If the certificate is usable without that part, it is in the certificate's own findings
    instead.
    """
    # The same CA certificates come with many leaves. Large ones are not cached, to save memory.
    reading = _read if len(der) <= _MOST_REMEMBERED_OCTETS else _read.__wrapped__
    return reading(der, field, number)


def leaf_view(certificate: Certificate) -> Leaf:
    """Returns the visible fields of the leaf `certificate`. Never raises."""
    return Leaf(
        subject=subject_of(certificate),
        issuer=shown(certificate.issuer_text, _MOST_NAME_CHARACTERS),
        serial=shown(f"{certificate.serial:x}", _MOST_NAME_CHARACTERS),
        hostnames=certificate.hostnames,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        fingerprint_sha256=certificate.fingerprint,
        spki_sha256=hashlib.sha256(certificate.spki).hexdigest(),
        key_algorithm=(
            key_algorithm(certificate.public_key) if certificate.public_key else certificate.key_oid
        ),
        signature_algorithm=signatures.algorithm_name(
            certificate.signature_oid, certificate.digest
        ),
    )


def subject_of(certificate: Certificate) -> str:
    """Returns the subject as in RFC 4514, cut after 1000 characters."""
    return shown(certificate.subject_text, _MOST_NAME_CHARACTERS)


def title(certificate: Certificate) -> str:
    """Returns a name of `certificate` for messages: its subject, or else its serial number."""
    return _title(certificate.subject_text, certificate.serial)


def pem_of(der: bytes) -> str:
    """Returns the certificate `der` as PEM (RFC 7468)."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


@lru_cache(maxsize=256)
def _read(data: bytes, field: str, number: int) -> Certificate | Finding:
    part = "its structure"
    try:
        content, algorithm, signature = _outer(data)
        fields = _fields(data, content)
        part = "its version or serial number"
        version = _version(data, fields.version)
        serial = der.integer(data, fields.serial)
        part = "its subject or issuer"
        subject, issuer = _slice(data, fields.subject), _slice(data, fields.issuer)
        subject_read, issuer_read = read_name(subject), read_name(issuer)
        part = "its validity"
        not_before, not_after = _validity(data, fields.validity)
        part = "its signature algorithm"
        signature_oid, digest = signatures.read_algorithm(data, algorithm)
        part = "its public key"
        key_oid = _key_oid(data, fields.spki)
        part = "its extensions"
        extensions = (
            read_extensions(data, *fields.extensions[1:]) if fields.extensions else Extensions()
        )
    except NotDer as error:
        return unreadable(field, number, part, str(error))
    spki = _slice(data, fields.spki)
    public_key, is_key_sound = _public_key(spki)
    hostnames, san_findings = _names(extensions, field)
    whose = _title(subject_read.text, serial)
    return Certificate(
        der=data,
        field=field,
        number=number,
        fingerprint=hashlib.sha256(data).hexdigest(),
        serial=serial,
        subject=subject,
        issuer=issuer,
        subject_text=subject_read.text,
        issuer_text=issuer_read.text,
        common_name=subject_read.common_name,
        spki=spki,
        key_spki=spki_of(public_key) if public_key else None,
        key_oid=key_oid,
        public_key=public_key,
        content=_slice(data, content),
        signature=signature,
        signature_oid=signature_oid,
        is_signature_named_once=_slice(data, algorithm) == _slice(data, fields.algorithm),
        digest=digest,
        has_odd_signature_parameters=signatures.has_odd_parameters(
            signature_oid, _slice(data, algorithm)
        ),
        not_before=not_before,
        not_after=not_after,
        extensions=MappingProxyType(extensions.raw),
        is_ca=extensions.is_ca,
        path_length=extensions.path_length,
        key_usage=extensions.key_usage,
        eku=extensions.eku,
        is_netscape_server=extensions.is_netscape_server,
        tls_features=extensions.tls_features,
        aki=extensions.aki,
        ski=extensions.ski,
        hostnames=hostnames,
        san_findings=san_findings,
        findings=(
            *([] if is_key_sound else [key_malformed(whose, field)]),
            *about_version(whose, field, version, extensions),
            *about_names(whose, field, subject_read, issuer_read),
            *about_extensions(whose, field, extensions.oddities),
        ),
    )


class _Fields(NamedTuple):
    """The positions of the fields of a TBSCertificate (RFC 5280, 4.1) that are read."""

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


def _fields(data: bytes, content: Part) -> _Fields:
    inner = der.parts(data, content[1], content[2])
    version = inner.pop(0) if inner and inner[0][0] == _VERSION else None
    if [part[0] for part in inner[:6]] != [der.INTEGER, *[der.SEQUENCE] * 5]:
        raise NotDer("it does not have the fields of a certificate")
    serial, algorithm, issuer, validity, subject, spki = inner[:6]
    # Unused unique identifiers may precede the extensions.
    tags = [part[0] for part in inner[6:]]
    if tags != sorted(set(tags)) or not _BEHIND.issuperset(tags):
        raise NotDer("it does not have the fields of a certificate")
    extensions = inner[-1] if tags and tags[-1] == _EXTENSIONS else None
    return _Fields(version, serial, algorithm, issuer, validity, subject, spki, extensions)


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
    text = digits.decode()
    try:
        return datetime(
            int(text[:4]),
            int(text[4:6]),
            int(text[6:8]),
            int(text[8:10]),
            int(text[10:12]),
            int(text[12:]),
            tzinfo=UTC,
        )
    except ValueError:
        raise NotDer("a time does not exist") from None


def _key_oid(data: bytes, part: Part) -> str:
    inner = der.parts(data, part[1], part[2])
    if [tag for tag, _, _ in inner] != [der.SEQUENCE, der.BIT_STRING]:
        raise NotDer("it does not have the parts of a public key")
    _, start, stop = inner[0]
    return der.oid(data, der.part_at(data, start, stop))


def _public_key(spki: bytes) -> tuple[CertificatePublicKeyTypes | None, bool]:
    """Returns the key, None if its type is unknown; and whether the key is valid, if known."""
    try:
        # The library warns of deprecated key types.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load_der_public_key(spki), True  # pyrefly: ignore[bad-return]
    except UnsupportedAlgorithm:
        return None, True
    except MemoryError:
        raise
    except Exception:  # any exception of the library is caused by the key
        return None, False


def _names(extensions: Extensions, field: str) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    unreadable_san = next(
        (one for one in extensions.oddities if one.oid == SUBJECT_ALT_NAME and one.is_unread), None
    )
    if unreadable_san:
        return (), (about_san(unreadable_san, field),)
    return hostnames_of(extensions.alternative_names, field)


def _title(subject: str, serial: int) -> str:
    return f"«{shown(subject)}»" if subject else f"number {shown(f'{serial:x}')}"
