"""The certificates of the corpus: any of them, also those that no library would make."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .der import NULL, bits, boolean, element, integer, octets, oid, sequence, tagged, time
from .keys import Signer, ec_key, spki_of

# When most examinations take place, and what is valid then.
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2027, 1, 29, 23, 59, 59, tzinfo=UTC)

WWW = "www.example.com"

_SHA256 = sequence(oid("2.16.840.1.101.3.4.2.1"), NULL)
_PSS_SHA256 = sequence(
    tagged(0, _SHA256),
    tagged(1, sequence(oid("1.2.840.113549.1.1.8"), _SHA256)),
    tagged(2, integer(32)),
)
SIGNATURES = {
    "ecdsa-sha256": sequence(oid("1.2.840.10045.4.3.2")),
    "ecdsa-sha384": sequence(oid("1.2.840.10045.4.3.3")),
    "ecdsa-sha512": sequence(oid("1.2.840.10045.4.3.4")),
    "ecdsa-sha224": sequence(oid("1.2.840.10045.4.3.1")),
    "ecdsa-sha1": sequence(oid("1.2.840.10045.4.1")),
    "ecdsa-sha3_256": sequence(oid("2.16.840.1.101.3.4.3.10")),
    "ecdsa-null-sha256": sequence(oid("1.2.840.10045.4.3.2"), NULL),
    "rsa-sha256": sequence(oid("1.2.840.113549.1.1.11"), NULL),
    "rsa-bare-sha256": sequence(oid("1.2.840.113549.1.1.11")),
    "rsa-sha224": sequence(oid("1.2.840.113549.1.1.14"), NULL),
    "rsa-pss-sha256": sequence(oid("1.2.840.113549.1.1.10"), _PSS_SHA256),
    "rsa-sha1": sequence(oid("1.2.840.113549.1.1.5"), NULL),
    "rsa-md5": sequence(oid("1.2.840.113549.1.1.4"), NULL),
    "ed25519": sequence(oid("1.3.101.112")),
    "ed448": sequence(oid("1.3.101.113")),
    "ml-dsa-44": sequence(oid("2.16.840.1.101.3.4.3.17")),
    "unknown": sequence(oid("1.3.6.1.4.1.99999.1")),
}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha224": hashes.SHA224(),
    "sha3_256": hashes.SHA3_256(),
    "sha1": hashes.SHA1(),
    "md5": hashes.MD5(),
}


def name(*parts: str | tuple[str, bytes]) -> bytes:
    """A name of these parts: a common name, or an attribute's OID and its value in DER."""
    made = [
        ("2.5.4.3", element(0x0C, part.encode())) if isinstance(part, str) else part
        for part in parts
    ]
    return sequence(*(element(0x31, sequence(oid(dotted), value)) for dotted, value in made))


def extension(value: x509.ExtensionType, critical: bool = False) -> bytes:
    return raw_extension(value.oid.dotted_string, value.public_bytes(), critical)


def raw_extension(dotted: str, value: bytes, critical: bool = False) -> bytes:
    return sequence(oid(dotted), boolean(True) if critical else b"", octets(value))


def san(*names: str | x509.GeneralName) -> bytes:
    return extension(
        x509.SubjectAlternativeName(
            [x509.DNSName(one) if isinstance(one, str) else one for one in names]
        )
    )


def san_of(*names: bytes) -> bytes:
    """subjectAltName of names in DER."""
    return raw_extension("2.5.29.17", sequence(*names))


def dns(value: bytes) -> bytes:
    return element(0x82, value)


def basic(ca: bool, path_length: int | None = None) -> bytes:
    return extension(x509.BasicConstraints(ca, path_length), critical=True)


def usage(*wanted: str) -> bytes:
    flags = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
        " key_cert_sign crl_sign encipher_only decipher_only"
    )
    return extension(
        x509.KeyUsage(**{flag: flag in wanted for flag in flags.split()}), critical=True
    )


def purposes(*dotted: str) -> bytes:
    return extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(one) for one in dotted]))


SERVER = ExtendedKeyUsageOID.SERVER_AUTH.dotted_string
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string


def ski(spki: bytes) -> bytes:
    return extension(x509.SubjectKeyIdentifier(hashlib.sha256(spki).digest()[:20]))


def aki(spki: bytes) -> bytes:
    digest = hashlib.sha256(spki).digest()[:20]
    return extension(x509.AuthorityKeyIdentifier(digest, None, None))


@dataclass(frozen=True)
class Draft:
    """A certificate before it is signed; names, key, times and extensions are DER."""

    subject: bytes
    issuer: bytes
    spki: bytes
    extensions: tuple[bytes, ...] = ()
    start: datetime | bytes = START
    end: datetime | bytes = END
    serial: int | bytes | None = None
    version: int = 2
    signature: str = ""
    inner_signature: str = ""
    more: bytes = b""

    def content(self, algorithm: str) -> bytes:
        """The signed part (TBSCertificate)."""
        validity = sequence(
            *(at if isinstance(at, bytes) else time(at) for at in (self.start, self.end))
        )
        rest = (
            SIGNATURES[self.inner_signature or algorithm],
            self.issuer,
            validity,
            self.subject,
            self.spki,
            tagged(3, sequence(*self.extensions)) if self.extensions else b"",
            self.more,
        )
        serial = self.serial
        if serial is None:
            serial = int.from_bytes(hashlib.sha256(b"".join(rest)).digest()[:16]) >> 1
        return sequence(
            tagged(0, integer(self.version)) if self.version else b"",
            serial if isinstance(serial, bytes) else integer(serial),
            *rest,
        )

    def signed(self, by: Signer) -> bytes:
        """The certificate, signed with the key `by`."""
        algorithm = self.signature or _usual_signature(by)
        content = self.content(algorithm)
        return sequence(content, SIGNATURES[algorithm], bits(_sign(by, algorithm, content)))

    def but(self, **changes: object) -> "Draft":
        return replace(self, **changes)


@dataclass(frozen=True)
class Authority:
    """Somebody who issues certificates."""

    title: str
    key: Signer = field(repr=False)
    certificate: bytes = b""

    @property
    def name(self) -> bytes:
        return name(self.title)

    @property
    def spki(self) -> bytes:
        return spki_of(self.key)


def draft_authority(
    title: str,
    key: Signer,
    by: Authority,
    *,
    path_length: int | None = None,
    more: Sequence[bytes] = (),
) -> Draft:
    """An authority's certificate without a fault."""
    spki = spki_of(key)
    return Draft(
        name(title),
        by.name,
        spki,
        (
            basic(True, path_length),
            usage("key_cert_sign", "crl_sign", "digital_signature"),
            ski(spki),
            *(() if by.title == title else (aki(by.spki),)),
            *more,
        ),
        datetime(2015, 1, 1, tzinfo=UTC),
        datetime(2039, 12, 31, 23, 59, 59, tzinfo=UTC),
    )


def self_signed(title: str, key: Signer) -> Authority:
    """A root."""
    bare = Authority(title, key)
    return Authority(title, key, draft_authority(title, key, bare).signed(key))


def subordinate(title: str, by: Authority, key: Signer | None = None) -> Authority:
    """An intermediate."""
    key = key or ec_key(title)
    return Authority(title, key, draft_authority(title, key, by).signed(by.key))


@cache
def root() -> Authority:
    """The one whom, in the corpus, the public trusts."""
    return self_signed("Corpus Root", ec_key("Corpus Root"))


@cache
def intermediate() -> Authority:
    """The one who issues most leaves."""
    return subordinate("Corpus Intermediate", root())


@cache
def private_root() -> Authority:
    """One whom only its own people trust."""
    return self_signed("Private Root", ec_key("Private Root"))


@cache
def private_intermediate() -> Authority:
    return subordinate("Private Intermediate", private_root())


def draft_leaf(
    hostname: str = WWW,
    *,
    by: Authority | None = None,
    spki: bytes | None = None,
    names: bytes | None = None,
    eku: bytes | None = None,
    role: bytes | None = None,
    key_usage: bytes | None = None,
    more: Sequence[bytes] = (),
    days: float | None = None,
    start: datetime = START,
) -> Draft:
    """A server's certificate without a fault, but for those given; an extension given as b"" is
    left out. `days`: valid from `start` for exactly so long."""
    by = by or intermediate()
    spki = spki_of(ec_key(hostname)) if spki is None else spki
    wanted = (
        basic(False) if role is None else role,
        usage("digital_signature") if key_usage is None else key_usage,
        purposes(SERVER) if eku is None else eku,
        ski(spki),
        aki(by.spki),
        san(hostname) if names is None else names,
        *more,
    )
    end = END if days is None else start + timedelta(days=days) - timedelta(seconds=1)
    return Draft(name(hostname), by.name, spki, tuple(one for one in wanted if one), start, end)


def leaf(hostname: str = WWW, **faults: Any) -> bytes:
    """As `draft_leaf`, signed."""
    by = faults.get("by") or intermediate()
    assert isinstance(by, Authority)
    return draft_leaf(hostname, **faults).signed(by.key)


def _usual_signature(key: Signer) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ecdsa-sha256"
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsa-sha256"
    return "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "ed448"


def _sign(key: Signer, algorithm: str, content: bytes) -> bytes:
    digest = _HASHES.get(algorithm.rpartition("-")[2], hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(content, ec.ECDSA(digest, deterministic_signing=True))
    if isinstance(key, rsa.RSAPrivateKey):
        if algorithm.startswith("rsa-pss"):
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            return key.sign(content, pss, digest)
        return key.sign(content, padding.PKCS1v15(), digest)
    return key.sign(content)


COMMON_NAME = NameOID.COMMON_NAME.dotted_string
