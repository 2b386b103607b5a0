"""The input and the result of a validation."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from ..crypto.secret import Secret
from ..errors import Finding
from ..field_docs import doc

# public: the chain ends in a publicly trusted root. private: the chain ends in another root, which
# was uploaded too. self_signed: signed by its own key. incomplete: an issuer is missing.
# unreadable: no certificate could be read.
Trust = Literal["public", "private", "self_signed", "incomplete", "unreadable"]

# Why no server may get a certificate at any time. no_key: its private key is missing, cannot be
# read, or belongs to another certificate. not_loadable: TLS servers cannot load certificate and
# key, or their handshakes fail.
NotServable = Literal["no_key", "not_loadable"]


class Submission(msgspec.Struct, frozen=True):
    """An upload: `body` (with or without `chain`) and `private_key`, or `pkcs12`.

    `private_key` and `pkcs12` are already decoded from base64. A missing field is empty. `findings`
    describe how they were decoded.
    """

    body: str = ""
    chain: str = ""
    private_key: bytes = b""
    pkcs12: bytes = b""
    passphrase: str | None = None
    findings: tuple[Finding, ...] = ()

    def __repr__(self) -> str:
        return "Submission(***)"


# Descriptions for the OpenAPI document.
SUBJECT = doc("The subject in the format of RFC 4514.", "CN=www.example.com")
ISSUER = doc("The issuer in the format of RFC 4514.", "CN=R10,O=Let's Encrypt,C=US")
SERIAL = doc("The serial number in hexadecimal.", "4aa1b2c3d4e5f60718293a4b5c6d")
HOSTNAMES = doc(
    "Hostnames of the certificate: DNS names (as IDNA A-labels) and IP addresses.",
    ["www.example.com"],
)
NOT_BEFORE = doc("Start of the validity.", "2026-11-01T00:00:00Z")
NOT_AFTER = doc("End of the validity.", "2027-01-30T00:00:00Z")
FINGERPRINT = doc("SHA-256 of the certificate (DER).", "5d41…17c5")
SPKI = doc("SHA-256 of the public key (SPKI).", "9f86…0f00")
KEY_ALGORITHM = doc("Type and size of the key.", "ECDSA-P-256")
SIGNATURE_ALGORITHM = doc("Algorithm of the issuer's signature.", "ecdsa-with-SHA384")


class Leaf(msgspec.Struct, frozen=True):
    """The visible fields of the leaf certificate.

    Digests are in lower-case hexadecimal; hostnames are normalized; times are in UTC.
    """

    subject: Annotated[str, SUBJECT]
    issuer: Annotated[str, ISSUER]
    serial: Annotated[str, SERIAL]
    hostnames: Annotated[tuple[str, ...], HOSTNAMES]
    not_before: Annotated[datetime, NOT_BEFORE]
    not_after: Annotated[datetime, NOT_AFTER]
    fingerprint_sha256: Annotated[str, FINGERPRINT]
    spki_sha256: Annotated[str, SPKI]
    key_algorithm: Annotated[str, KEY_ALGORITHM]
    signature_algorithm: Annotated[str, SIGNATURE_ALGORITHM]


class ChainCertificate(msgspec.Struct, frozen=True):
    """The visible fields of a certificate of a chain. Names are as in RFC 4514; times in UTC."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str


class Intermediate(msgspec.Struct, frozen=True):
    """A CA certificate of a verified chain.

    `subject_hash` is OpenSSL's hash of its subject. `fingerprint_sha256` is the hash of the whole
    certificate. Both are in hexadecimal.
    """

    subject_hash: str
    fingerprint_sha256: str
    der: bytes


# Why TLS servers cannot serve a certificate: the step at which they fail, and OpenSSL's reason.
Fault = tuple[str, str]


class SentChain(msgspec.Struct, frozen=True, array_like=True):
    """The certificates of an upload, leaf first, without its key: enough to complete the chain.

    Each is its DER, and its field and number. `fault` is that of the leaf. `has_key`: its key was
    sent.
    """

    certificates: tuple[tuple[bytes, str, int], ...]
    fault: Fault | None
    has_key: bool


class Unfinished(msgspec.Struct, frozen=True):
    """An upload with an incomplete chain, and the findings before and after those about it."""

    sent: SentChain
    before: tuple[Finding, ...]
    after: tuple[Finding, ...]


class ChainResult(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a ValidationResult that depends on the chain. `findings` are about the chain.

    `chain_pem` is the chain to serve: leaf first, in order, without the root. `intermediates` are
    those of the chain that may complete other chains. `missing_issuer` is the `subject_hash` of the
    missing Intermediate. All of `chain_pem` is valid from `serve_not_before` to `serve_not_after`.
    `proves_hostnames`: the chain ends in a bundled public root, and the certificate is for servers.
    """

    findings: tuple[Finding, ...]
    trust: Trust
    chain_pem: str | None = None
    intermediates: tuple[Intermediate, ...] = ()
    missing_issuer: str | None = None
    serve_not_before: datetime | None = None
    serve_not_after: datetime | None = None
    not_servable: NotServable | None = None
    proves_hostnames: bool = False


class ValidationResult(ChainResult, frozen=True, kw_only=True):
    """The result of a validation. If `leaf` is None, no certificate could be used.

    `findings` are all findings. `private_key` is unencrypted PKCS#8 (DER), or the input if it could
    not be read. `body` and `chain` are the texts to store: the certificates in PEM, in their order,
    or the input if a part of it could not be read. The certificates of a PKCS#12 file are in
    `body`. `unfinished` is set if an issuer is missing.
    """

    body: str
    private_key: Secret
    leaf: Leaf | None = None
    chain: str | None = None
    unfinished: Unfinished | None = None
