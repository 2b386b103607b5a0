"""Reads the certificates of a PKCS#7 bundle (RFC 2315, RFC 5652), as in .p7b files."""

from . import ber

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_CERTIFICATES = 0xA0


def read_pkcs7(data: bytes) -> tuple[bytes, ...]:
    """Returns the certificates (DER) in the bundle `data` (DER or BER), in their order.

    Raises NotBer if `data` is not a bundle of certificates. The bundle's signature is not verified:
    it says nothing about the certificates.
    """
    kind, *content = ber.only(data).children()
    if kind.oid() != _SIGNED_DATA or len(content) != 1:
        raise ber.NotBer("it is not signed data")
    # SignedData: version, digestAlgorithms, encapContentInfo, certificates [0], crls [1], …
    signed = content[0].children()
    for part in signed[0].children() if signed else ():
        if part.tag == _CERTIFICATES:
            return tuple(bytes(one.encoded) for one in part.children() if one.tag == ber.SEQUENCE)
    raise ber.NotBer("it has no certificates")
