"""Reads a certificate. All parts are read at once here, so later access never raises.

Clients accept certificates that strict parsers reject, so this package has its own reader. If one
part is malformed, the rest is read, and `findings` say what is wrong and which clients reject it.
"""

import base64
import hashlib
import warnings
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ...errors import Finding
from ..asn1 import signatures
from ..asn1.extensions import SUBJECT_ALT_NAME, Extensions
from ..keys.public_keys import key_algorithm, spki_of
from ..names.hostnames import hostnames_of
from ..submission import ChainCertificate, Leaf
from ..text import shown
from .fields import Malformed, Signature, read_fields
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


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """A readable certificate. `findings` name the parts that could not be read.

    `field` and `number` say where the certificate came from: the first one in a field is number 1.
    `subject`, `issuer` and `spki` are the DER in the certificate; `fingerprint` is its SHA-256 in
    hexadecimal. OIDs are written with dots.

    `public_key` is None if its algorithm (`key_oid`) is unknown or the key is malformed. `key_spki`
    is the SPKI derived from its private key, which may be encoded differently than `spki`.

    In `extensions`, `eku` has the purposes; None means any. `aki` and `ski` are the key identifiers
    of RFC 5280, 4.2.1.1 and 4.2.1.2. `is_netscape_server` is False if Netscape's certificate type
    excludes TLS servers. `hostnames` are normalized; `san_findings` report the
    invalid ones. Times are in UTC.
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
    signature: Signature
    not_before: datetime
    not_after: datetime
    extensions: Extensions
    hostnames: tuple[str, ...]
    san_findings: tuple[Finding, ...]
    findings: tuple[Finding, ...]

    def is_valid(self, at: datetime) -> bool:
        """Returns whether `at` is within the validity, both ends included (RFC 5280, 4.1.2.5)."""
        return self.not_before <= at <= self.not_after

    def is_signed_by(self, issuer: "Certificate") -> bool:
        """Returns whether the key of `issuer` made the signature, without any other check."""
        signature = self.signature
        algorithm = signature.oid, signature.digest
        return signature.is_named_once and signatures.holds(
            issuer.public_key, signature.octets, signature.content, algorithm
        )


def read(der: bytes, field: str, number: int) -> Certificate | Finding:
    """Returns the certificate in `der`, or a finding if it cannot be read. Never raises.

    The finding is `pem_invalid` and says which part of certificate `number` of `field` cannot be
    read. If the certificate is usable without that part, it is in the certificate's own findings
    instead.
    """
    # The same CA certificates come with many leaves. Large ones are not cached, to save memory.
    reader = _read if len(der) <= _MOST_REMEMBERED_OCTETS else _read.__wrapped__
    return reader(der, field, number)


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
            certificate.signature.oid, certificate.signature.digest
        ),
    )


def chain_view(certificate: Certificate) -> ChainCertificate:
    """Returns the visible fields of a certificate of a chain. Never raises."""
    return ChainCertificate(
        subject=subject_of(certificate),
        issuer=shown(certificate.issuer_text, _MOST_NAME_CHARACTERS),
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        fingerprint_sha256=certificate.fingerprint,
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
    try:
        fields = read_fields(data)
    except Malformed as error:
        return unreadable(field, number, error.part, str(error))
    public_key, is_key_sound = _public_key(fields.spki)
    hostnames, san_findings = _names(fields.extensions, field)
    whose = _title(fields.subject_read.text, fields.serial)
    return Certificate(
        der=data,
        field=field,
        number=number,
        fingerprint=hashlib.sha256(data).hexdigest(),
        serial=fields.serial,
        subject=fields.subject,
        issuer=fields.issuer,
        subject_text=fields.subject_read.text,
        issuer_text=fields.issuer_read.text,
        common_name=fields.subject_read.common_name,
        spki=fields.spki,
        key_spki=spki_of(public_key) if public_key else None,
        key_oid=fields.key_oid,
        public_key=public_key,
        signature=fields.signature,
        not_before=fields.not_before,
        not_after=fields.not_after,
        extensions=fields.extensions,
        hostnames=hostnames,
        san_findings=san_findings,
        findings=(
            *([] if is_key_sound else [key_malformed(whose, field)]),
            *about_version(whose, field, fields.version, fields.extensions),
            *about_names(whose, field, fields.subject_read, fields.issuer_read),
            *about_extensions(whose, field, fields.extensions.oddities),
        ),
    )


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
    for oddity in extensions.oddities:
        if oddity.oid == SUBJECT_ALT_NAME and oddity.is_unread:
            return (), (about_san(oddity, field),)
    return hostnames_of(extensions.alternative_names, field)


def _title(subject: str, serial: int) -> str:
    return f"«{shown(subject)}»" if subject else f"number {shown(f'{serial:x}')}"
