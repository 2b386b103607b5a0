"""Resizes the scalar of an EC private key (RFC 5915) to the size of its curve.

Some tools write it as an INTEGER: without its leading zeros, or with an extra one. OpenSSL accepts
that.
"""

from ..asn1 import ber
from ..asn1.ber import Element, NotBer

# The size of a scalar in octets by the OID of the curve.
_SIZES = {
    "1.2.840.10045.3.1.1": 24,  # P-192
    "1.3.132.0.33": 28,  # P-224
    "1.2.840.10045.3.1.7": 32,  # P-256
    "1.3.132.0.34": 48,  # P-384
    "1.3.132.0.35": 66,  # P-521
    "1.3.132.0.10": 32,  # secp256k1
    "1.3.36.3.3.2.8.1.1.7": 32,  # brainpoolP256r1
    "1.3.36.3.3.2.8.1.1.11": 48,  # brainpoolP384r1
    "1.3.36.3.3.2.8.1.1.13": 64,  # brainpoolP512r1
}
_PARAMETERS = 0xA0


def resized_sec1(der: bytes) -> bytes:
    """Returns the ECPrivateKey `der` with a scalar of the right size.

    Returns `der` itself if it needs no change. Raises NotBer.
    """
    parts = ber.only(der).children()
    named = [part.children() for part in parts[2:] if part.tag == _PARAMETERS]
    return _resized(parts, named[0][0] if named and named[0] else None) or der


def resized_pkcs8(der: bytes, parts: list[Element]) -> bytes:
    """Does the same for PKCS#8 (RFC 5958) that consists of `parts`. Raises NotBer."""
    algorithm = parts[1].children()
    inner = ber.only(parts[2].octets()).children()
    resized = _resized(inner, algorithm[1] if len(algorithm) == 2 else None)
    if resized is None:
        return der
    head = (bytes(part.encoded) for part in parts[:2])
    return ber.encode(ber.SEQUENCE, *head, ber.encode(ber.OCTET_STRING, resized))


def _resized(parts: list[Element], curve: Element | None) -> bytes | None:
    if curve is None or curve.tag != ber.OID or len(parts) < 2:
        return None
    size = _SIZES.get(curve.oid())
    scalar = parts[1].octets()
    if size is None or len(scalar) == size:
        return None
    digits = scalar.lstrip(b"\0")
    if len(digits) > size:
        raise NotBer("its private number is too large for its curve")
    rest = (bytes(part.encoded) for part in parts[2:])
    resized = ber.encode(ber.OCTET_STRING, digits.rjust(size, b"\0"))
    return ber.encode(ber.SEQUENCE, bytes(parts[0].encoded), resized, *rest)
