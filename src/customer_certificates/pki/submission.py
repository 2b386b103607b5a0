"""What goes into an examination, and what comes out of it."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..crypto.secret import Secret
from ..errors import Finding

# public: a chain to a root that the public trusts. private: a chain to a root of somebody's own,
# which was sent along. self_signed: its own issuer. incomplete: an issuer is missing. opaque: no
# certificate could be read.
Trust = Literal["public", "private", "self_signed", "incomplete", "opaque"]

# Why no server can be given a certificate at any time. no_key: its private key is missing, cannot
# be read, or is another certificate's. not_loadable: TLS servers refuse to load certificate and
# key, or their handshakes fail.
NotServable = Literal["no_key", "not_loadable"]


class Submission(msgspec.Struct, frozen=True):
    """What a customer sent: `body` (with or without `chain`) and `private_key`, or `pkcs12`.

    `private_key` and `pkcs12` are what their base64 stood for; a field that was not sent is empty.
    `findings` say how they were decoded.
    """

    body: str = ""
    chain: str = ""
    private_key: bytes = b""
    pkcs12: bytes = b""
    passphrase: str | None = None
    findings: tuple[Finding, ...] = ()

    def __repr__(self) -> str:
        return "Material(***)"


# What each of these is, for the description of the API.
SUBJECT = Meta(description="As RFC 4514 writes it.", examples=["CN=www.example.com"])
ISSUER = Meta(description="As RFC 4514 writes it.", examples=["CN=R10,O=Let's Encrypt,C=US"])
SERIAL = Meta(description="In hexadecimal.", examples=["4aa1b2c3d4e5f60718293a4b5c6d"])
HOSTNAMES = Meta(
    description="What it is for: DNS names (IDNA's A-labels) and IP addresses.",
    examples=[["www.example.com"]],
)
NOT_BEFORE = Meta(description="Valid from here.", examples=["2026-11-01T00:00:00Z"])
NOT_AFTER = Meta(description="Valid to here.", examples=["2027-01-30T00:00:00Z"])
FINGERPRINT = Meta(description="SHA-256 of the certificate (DER).", examples=["5d41…17c5"])
SPKI = Meta(description="SHA-256 of its public key (SPKI).", examples=["9f86…0f00"])
KEY_ALGORITHM = Meta(description="Kind and size of the key.", examples=["ECDSA-P-256"])
SIGNATURE_ALGORITHM = Meta(
    description="What its issuer signed with.", examples=["ecdsa-with-SHA384"]
)


class Leaf(msgspec.Struct, frozen=True):
    """What is shown of the certificate that is served first.

    Digests in lower-case hexadecimal; hostnames normalised; times in UTC.
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


class Intermediate(msgspec.Struct, frozen=True):
    """An authority's certificate of a verified chain.

    `subject_hash` is OpenSSL's hash of its subject, and `fingerprint_sha256` that of the whole
    certificate, both in hexadecimal.
    """

    subject_hash: str
    fingerprint_sha256: str
    der: bytes


class ValidationResult(msgspec.Struct, frozen=True):
    """What was understood. Where `leaf` is None, nothing else was.

    `chain_pem` is what should be served: leaf first, in order, the root left out. `private_key` is
    the key as unencrypted PKCS#8 (DER), or as it came where it could not be read. `body` and
    `chain` are what is stored of each: its certificates in PEM, in their order, or the text as it
    came if something in it could not be read. Those of a PKCS#12 file are `body`. `intermediates`
    are those of the chain that may complete other chains. `missing_issuer` is the `subject_hash` of
    the Intermediate that the chain lacks. All of `chain_pem` is valid from `serve_not_before` to
    `serve_not_after`. `proves_hostnames`: the chain leads to a bundled public root, and the
    certificate is for servers.
    """

    findings: tuple[Finding, ...]
    trust: Trust
    body: str
    private_key: Secret
    leaf: Leaf | None = None
    chain_pem: str | None = None
    intermediates: tuple[Intermediate, ...] = ()
    missing_issuer: str | None = None
    serve_not_before: datetime | None = None
    serve_not_after: datetime | None = None
    not_servable: NotServable | None = None
    proves_hostnames: bool = False
    chain: str | None = None
