"""Finds the format of a private key from its ASN.1, before loading or decrypting it."""

from dataclasses import dataclass

from ..asn1 import ber, pbe
from ..asn1.ber import Element
from ..asn1.pbe import Encryption
from .ec_scalars import resized_pkcs8, resized_sec1

RSA, EC = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1"
_USABLE = (RSA, EC, "1.3.101.112", "1.3.101.113")  # the last two: Ed25519, Ed448
_OTHERS = {
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.113549.1.1.7": "RSAES-OAEP",
    "1.2.840.10040.4.1": "DSA",
    "1.2.840.113549.1.3.1": "Diffie-Hellman",
    "1.2.840.10046.2.1": "Diffie-Hellman",
    "1.3.101.110": "X25519",
    "1.3.101.111": "X448",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}
_DSA = "1.2.840.10040.4.1"
_VERSION_TWO_PRIMES = 0
_VERSION_WITH_PUBLIC_KEY = 1


@dataclass(frozen=True, slots=True)
class RsaNumbers:
    """The numbers of an RSA private key (RFC 8017, appendix A.1.2), unchecked."""

    n: int
    e: int
    d: int
    p: int
    q: int
    d_p: int
    d_q: int
    q_inverse: int


@dataclass(frozen=True, slots=True)
class PlainKey:
    """An unencrypted key: the OID of its algorithm, its RSA numbers if any, and the DER to load."""

    algorithm: str
    rsa: RsaNumbers | None
    der: bytes

    @property
    def usable(self) -> bool:
        """Whether a TLS server can use such a key."""
        return self.algorithm in _USABLE

    @property
    def name(self) -> str:
        """The usual name of an algorithm that is not usable."""
        return _OTHERS.get(self.algorithm, f"unknown ({self.algorithm})")


class NotAKey(Exception):  # noqa: N818 - it says what the bytes are
    """Raised for data that is not a private key; the message says what the data is."""


def format_of(der: bytes) -> PlainKey | Encryption:
    """Returns the format of the private key `der`.

    PKCS#8 (RFC 5958), encrypted or not, PKCS#1 (RFC 8017) or SEC 1 (RFC 5915). Raises NotAKey;
    NotBer if `der` is not ASN.1; `pbe.UnknownAlgorithm` if the encryption is unknown.
    """
    parts = ber.only(der).children()
    tags = tuple(part.tag for part in parts)
    if tags == (ber.SEQUENCE, ber.OCTET_STRING):
        return pbe.read_encryption(parts[0])
    if tags[:3] == (ber.INTEGER, ber.SEQUENCE, ber.OCTET_STRING):
        algorithm = parts[1].sequence(1)[0].oid()
        if algorithm == EC:
            return PlainKey(EC, None, _without_public_key(parts) or resized_pkcs8(der, parts))
        rsa = _rsa(parts[2].octets()) if algorithm == RSA else None
        return PlainKey(algorithm, rsa, _without_public_key(parts) or der)
    if tags[:2] == (ber.INTEGER, ber.OCTET_STRING):
        return PlainKey(EC, None, resized_sec1(der))
    if len(tags) >= 9 and set(tags[:9]) == {ber.INTEGER}:
        return PlainKey(RSA, _rsa(der), der)
    if tags == (ber.INTEGER,) * 6:
        return PlainKey(_DSA, None, der)
    raise NotAKey(_actual_content(tags))


def _without_public_key(parts: list[Element]) -> bytes | None:
    """Returns PKCS#8 version 2 as version 1, which the library can read.

    Version 2 (RFC 5958) appends the public key, as ring and BouncyCastle write Ed25519 keys. None
    if the key has version 1 already.
    """
    if parts[0].integer() != _VERSION_WITH_PUBLIC_KEY:
        return None
    version_1 = ber.encode(ber.INTEGER, b"\0")
    return ber.encode(ber.SEQUENCE, version_1, *(bytes(part.encoded) for part in parts[1:3]))


def _rsa(der: bytes) -> RsaNumbers:
    parts = ber.only(der).sequence(9)
    if len(parts) > 9 or parts[0].integer() != _VERSION_TWO_PRIMES:
        raise NotAKey("an RSA key with more than two primes")
    return RsaNumbers(*(part.integer() for part in parts[1:]))


def _actual_content(tags: tuple[int, ...]) -> str:
    if tags == (ber.SEQUENCE, ber.SEQUENCE, ber.BIT_STRING):
        return "a certificate"
    if tags == (ber.SEQUENCE, ber.BIT_STRING):
        return "a public key"
    if tags[:2] == (ber.INTEGER, ber.SEQUENCE):
        return "a PKCS#12 file"
    return "some other ASN.1"
