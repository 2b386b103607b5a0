"""A small certificate authority, and every fault that a certificate can have."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from customer_certificates.pki.x509.certificate import Certificate, read

# When the tests take place: nothing in them reads the clock.
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

_SHA256_WITH_ECDSA = bytes.fromhex("06082a8648ce3d040302")
_SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")
_WEAK_WITH_RSA = {
    "md5": bytes.fromhex("06092a864886f70d010104"),
    "sha1": bytes.fromhex("06092a864886f70d010105"),
}


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of `name`: always the same for the same name."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key: always the same for as many bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def name_of(common_name: str) -> x509.Name:
    """A name with one attribute, or with none if `common_name` is empty."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    return x509.Name(parts)


def issue(
    subject: str,
    by: str,
    *,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    signer: CertificateIssuerPrivateKeyTypes | None = None,
    start: timedelta = timedelta(days=-10),
    end: timedelta = timedelta(days=80),
    hostnames: Iterable[str | x509.GeneralName] = (),
    ca: bool = False,
    path_length: int | None = None,
    constraints: bool = True,
    purposes: Iterable[ObjectIdentifier] = (),
    signs: bool = True,
    identifiers: bool = True,
    more: Iterable[tuple[x509.ExtensionType, bool]] = (),
    number: int | None = None,
) -> x509.Certificate:
    """A certificate of `subject`, issued `by` somebody: valid from NOW + `start` to NOW + `end`.

    Keys are those of the names, unless given. `constraints`: it has basicConstraints. `signs`: its
    keyUsage permits it what it is for. `identifiers`: it has those of the keys. `more`: extensions,
    each with whether it is critical.
    """
    key = key or ec_key(subject)
    signer = signer or ec_key(by)
    alternatives = [x509.DNSName(one) if isinstance(one, str) else one for one in hostnames]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(subject))
        .issuer_name(name_of(by))
        .public_key(key.public_key())
        .serial_number(number or x509.random_serial_number())
        .not_valid_before(NOW + start)
        .not_valid_after(NOW + end)
        .add_extension(_key_usage(ca, signs), critical=True)
    )
    if constraints:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    if identifiers:
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuers = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(own, critical=False).add_extension(issuers, critical=False)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    if wanted := list(purposes):
        builder = builder.add_extension(x509.ExtendedKeyUsage(wanted), critical=False)
    for extension, is_critical in more:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(signer, hashes.SHA256())


def an_authority(subject: str, by: str, **faults: Any) -> x509.Certificate:
    """A CA certificate, valid for years, from `issue`."""
    usual: dict[str, Any] = {"ca": True, "start": timedelta(days=-300), "end": timedelta(days=3000)}
    return issue(subject, by, **(usual | faults))


def a_leaf(by: str, hostname: str = "www.example.com", **faults: Any) -> x509.Certificate:
    """A server's certificate with the given faults only, from `issue`."""
    usual: dict[str, Any] = {"hostnames": [hostname], "purposes": [ExtendedKeyUsageOID.SERVER_AUTH]}
    return issue(hostname, by, **(usual | faults))


def signed_weakly(certificate: x509.Certificate, digest: hashes.HashAlgorithm) -> x509.Certificate:
    """`certificate`, signed by `rsa_key()`, signed by it again with `digest`, MD5 or SHA-1."""
    weak = _WEAK_WITH_RSA[digest.name]
    content = certificate.tbs_certificate_bytes.replace(_SHA256_WITH_RSA, weak)
    signature = rsa_key().sign(content, padding.PKCS1v15(), digest)
    return _signed(content, weak + b"\x05\x00", signature)


def a_root_of_version_1(name: str) -> x509.Certificate:
    """A root of version 1, without extensions (X.509 of 1988)."""
    key = ec_key(name)
    made = x509.CertificateBuilder(
        name_of(name), name_of(name), key.public_key(), 1, NOW - timedelta(days=1), NOW
    ).sign(key, hashes.SHA256())
    # The library makes version 3 only, which says so in the first field.
    _, _, fields = made.tbs_certificate_bytes.partition(b"\xa0\x03\x02\x01\x02")
    content = _element(0x30, fields)
    signature = key.sign(content, ec.ECDSA(hashes.SHA256()))
    return _signed(content, _SHA256_WITH_ECDSA, signature)


def sent(*certificates: x509.Certificate, field: str = "body") -> list[Certificate]:
    """The certificates as they are read from `field`, in this order."""
    return [readable(one, field, number) for number, one in enumerate(certificates, 1)]


def readable(certificate: x509.Certificate, field: str = "body", number: int = 1) -> Certificate:
    """The certificate as it is read, which must succeed."""
    made = read(certificate.public_bytes(Encoding.DER), field, number)
    assert isinstance(made, Certificate), made
    return made


def _key_usage(ca: bool, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs and not ca,
        content_commitment=False,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs and ca,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(content: bytes, algorithm: bytes, signature: bytes) -> x509.Certificate:
    parts = content + _element(0x30, algorithm) + _element(0x03, b"\x00" + signature)
    return x509.load_der_x509_certificate(_element(0x30, parts))


def _element(tag: int, content: bytes) -> bytes:
    """A DER element."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content
