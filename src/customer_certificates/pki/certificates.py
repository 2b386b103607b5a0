"""One certificate, read: everything in it is looked at once, here, and nothing raises later."""

import base64
import hashlib
import warnings
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.x509 import Certificate as LoadedCertificate
from cryptography.x509 import KeyUsage, ObjectIdentifier
from cryptography.x509.oid import SignatureAlgorithmOID

from ..errors import Finding
from .keys import key_algorithm, spki_of
from .material import Leaf
from .names import hostnames_of
from .wording import shown

_MOST_NAME_CHARACTERS = 1000
_MOST_REMEMBERED_OCTETS = 4096

# What the library says where it is subjectAltName that cannot be read: it names no extension.
_ABOUT_NAMES = (
    "subject_alternative_name",
    "x400Address/EDIPartyName",
    "IPv4 or IPv6 address",
    "netmask",
    "host bits",
)


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """A certificate of which every part could be read.

    `field` and `number` say where it came from: the first one in a field is number 1. `subject`,
    `issuer` and `spki` are the DER that stands in the certificate, `fingerprint` its SHA-256 in
    hexadecimal. `public_key` is None where its algorithm is unknown; `key_spki` is the SPKI that
    its private key has, which may be written in another way than `spki`. `digest` is that of
    its signature, None where it is unknown or has none. `aki` and `ski` are the key
    identifiers of RFC 5280, 4.2.1.1 and 4.2.1.2; `eku` the purposes, None where any is meant.
    `hostnames` are normalised; what is wrong with the others is in `san_findings`. Times in UTC.
    """

    der: bytes
    x509: LoadedCertificate
    field: str
    number: int
    fingerprint: str
    is_version_1: bool
    serial: int
    subject: bytes
    issuer: bytes
    spki: bytes
    key_spki: bytes | None
    public_key: CertificatePublicKeyTypes | None
    digest: HashAlgorithm | None
    not_before: datetime
    not_after: datetime
    self_issued: bool
    is_ca: bool
    path_length: int | None
    key_usage: KeyUsage | None
    eku: frozenset[ObjectIdentifier] | None
    aki: bytes | None
    ski: bytes | None
    has_name_constraints: bool
    hostnames: tuple[str, ...]
    san_findings: tuple[Finding, ...]

    def is_valid(self, at: datetime) -> bool:
        """Whether `at` lies within its validity, both ends included (RFC 5280, 4.1.2.5)."""
        return self.not_before <= at <= self.not_after


def read(der: bytes, field: str, number: int) -> Certificate | Finding:
    """The certificate that `der` is, or why it is none; never raises.

    The finding is `pem_invalid`, `san_invalid` or `key_invalid`; it says which part of certificate
    `number` of `field` cannot be read.
    """
    # Authorities' certificates come again with every leaf. A large one is not worth the memory.
    reading = _read if len(der) <= _MOST_REMEMBERED_OCTETS else _read.__wrapped__
    return reading(der, field, number)


@lru_cache(maxsize=256)
def _read(der: bytes, field: str, number: int) -> Certificate | Finding:
    part = "its structure"
    # What is odd and yet legible (a negative serial number, say) is warned of by the library.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loaded = x509.load_der_x509_certificate(der)
            part = "its version or serial number"
            version, serial = loaded.version, loaded.serial_number
            part = "its subject or issuer"
            _ = loaded.subject, loaded.issuer
            part = "its validity"
            not_before, not_after = loaded.not_valid_before_utc, loaded.not_valid_after_utc
            part = "its signature algorithm"
            digest = _digest(loaded)
            part = "its public key"
            public_key = _public_key(loaded)
            part = "its extensions"
            extensions = {type(one.value): one.value for one in loaded.extensions}
            san = extensions.get(x509.SubjectAlternativeName)
            hostnames, san_findings = hostnames_of(san, field) if san else ((), ())
        except MemoryError:
            raise
        except Exception as error:  # whatever the library raises, it was the certificate's doing
            return _unreadable(field, number, part, error)
    issuer, subject, spki = _slices(der)
    constraints = extensions.get(x509.BasicConstraints)
    usages = extensions.get(x509.ExtendedKeyUsage)
    authority = extensions.get(x509.AuthorityKeyIdentifier)
    own = extensions.get(x509.SubjectKeyIdentifier)
    return Certificate(
        der=der,
        x509=loaded,
        field=field,
        number=number,
        fingerprint=hashlib.sha256(der).hexdigest(),
        is_version_1=version is x509.Version.v1,
        serial=serial,
        subject=subject,
        issuer=issuer,
        spki=spki,
        key_spki=spki_of(public_key) if public_key else None,
        public_key=public_key,
        digest=digest,
        not_before=not_before,
        not_after=not_after,
        self_issued=subject == issuer,
        is_ca=constraints.ca if constraints else False,
        path_length=constraints.path_length if constraints else None,
        key_usage=extensions.get(x509.KeyUsage),
        eku=frozenset(usages) if usages else None,
        aki=authority.key_identifier if authority else None,
        ski=own.digest if own else None,
        has_name_constraints=x509.NameConstraints in extensions,
        hostnames=hostnames,
        san_findings=san_findings,
    )


def leaf_view(certificate: Certificate) -> Leaf:
    """What is shown of `certificate` where it is served first; never raises."""
    return Leaf(
        subject=subject_of(certificate),
        issuer=shown(certificate.x509.issuer.rfc4514_string(), _MOST_NAME_CHARACTERS),
        serial=f"{certificate.serial:x}",
        hostnames=certificate.hostnames,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        fingerprint_sha256=certificate.fingerprint,
        spki_sha256=hashlib.sha256(certificate.spki).hexdigest(),
        key_algorithm=_key_algorithm(certificate),
        signature_algorithm=_signature_algorithm(certificate),
    )


def subject_of(certificate: Certificate) -> str:
    """The subject as RFC 4514 writes it, cut after 1000 characters."""
    return shown(certificate.x509.subject.rfc4514_string(), _MOST_NAME_CHARACTERS)


def title(certificate: Certificate) -> str:
    """What `certificate` is called in a sentence: by its subject, else by its serial number."""
    return (
        f"«{shown(subject_of(certificate))}»"
        if certificate.x509.subject.rdns
        else f"number {certificate.serial:x}"
    )


def pem_of(der: bytes) -> str:
    """`der`, a certificate, as RFC 7468 writes it."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


def _public_key(loaded: x509.Certificate) -> CertificatePublicKeyTypes | None:
    try:
        return loaded.public_key()
    except UnsupportedAlgorithm:
        return None


def _digest(loaded: x509.Certificate) -> HashAlgorithm | None:
    try:
        _ = loaded.signature_algorithm_parameters
        return loaded.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None


def _key_algorithm(certificate: Certificate) -> str:
    if certificate.public_key is None:
        return certificate.x509.public_key_algorithm_oid.dotted_string
    return key_algorithm(certificate.public_key)


def _signature_algorithm(certificate: Certificate) -> str:
    oid, digest = certificate.x509.signature_algorithm_oid, certificate.digest
    name: str = oid._name
    if oid == SignatureAlgorithmOID.RSASSA_PSS and digest:
        return f"RSASSA-PSS with {digest.name.upper()}"
    return name if name != "Unknown OID" else oid.dotted_string


def _slices(der: bytes) -> tuple[bytes, bytes, bytes]:
    """The DER of issuer, subject and subjectPublicKeyInfo in `der`, which was read before.

    Names are compared as they stand, and keys are pinned as they stand, so not as written anew.
    """
    at, _ = _content(der, 0)
    at, _ = _content(der, at)
    # RFC 5280, 4.1: [0] version (absent in version 1), serialNumber, signature, issuer, validity,
    # subject, subjectPublicKeyInfo.
    passed = 3 if der[at] == 0xA0 else 2
    ends = [at]
    for _ in range(passed + 4):
        ends.append(_content(der, ends[-1])[1])
    ends = ends[passed:]
    return der[ends[0] : ends[1]], der[ends[2] : ends[3]], der[ends[3] : ends[4]]


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of the DER element at `at` begins and ends."""
    length = der[at + 1]
    start = at + 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start])
    return start, start + length


def _unreadable(field: str, number: int, part: str, error: Exception) -> Finding:
    reason = shown(str(error) or type(error).__name__)
    code = "pem_invalid"
    if part == "its public key":
        code = "key_invalid"
    elif any(one in reason for one in _ABOUT_NAMES):
        code = "san_invalid"
    return Finding(
        code,
        field,
        f"Certificate {number} of {field} cannot be read: {part} is malformed ({reason}).",
        "Send the file as your authority gave it to you; if it is that, have it issued again.",
    )
