"""Algorithms and verification of certificate signatures."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import SignatureAlgorithmOID

from . import der
from .der import NotDer

_ECDSA = "1.2.840.10045.4."
_RSASSA_PSS = SignatureAlgorithmOID.RSASSA_PSS.dotted_string

_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    oid.dotted_string: digest()
    for oid, digest in (
        (SignatureAlgorithmOID.RSA_WITH_MD5, hashes.MD5),
        (SignatureAlgorithmOID.RSA_WITH_SHA1, hashes.SHA1),
        (ObjectIdentifier("1.3.14.3.2.29"), hashes.SHA1),
        (SignatureAlgorithmOID.RSA_WITH_SHA224, hashes.SHA224),
        (SignatureAlgorithmOID.RSA_WITH_SHA256, hashes.SHA256),
        (SignatureAlgorithmOID.RSA_WITH_SHA384, hashes.SHA384),
        (SignatureAlgorithmOID.RSA_WITH_SHA512, hashes.SHA512),
        (SignatureAlgorithmOID.ECDSA_WITH_SHA1, hashes.SHA1),
        (SignatureAlgorithmOID.ECDSA_WITH_SHA224, hashes.SHA224),
        (SignatureAlgorithmOID.ECDSA_WITH_SHA256, hashes.SHA256),
        (SignatureAlgorithmOID.ECDSA_WITH_SHA384, hashes.SHA384),
        (SignatureAlgorithmOID.ECDSA_WITH_SHA512, hashes.SHA512),
        (SignatureAlgorithmOID.DSA_WITH_SHA1, hashes.SHA1),
        (SignatureAlgorithmOID.DSA_WITH_SHA224, hashes.SHA224),
        (SignatureAlgorithmOID.DSA_WITH_SHA256, hashes.SHA256),
    )
}
# ECDSA imports a module on first use, and a sandbox process cannot open files.
ec.ECDSA(hashes.SHA256())

# The parameter of RSASSA-PSS (RFC 4055, 2.1). Without it, SHA-1 applies.
_PSS_DEFAULT: hashes.HashAlgorithm = _DIGESTS["1.2.840.113549.1.1.5"]
_PSS_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "1.3.14.3.2.26": _PSS_DEFAULT,
    "2.16.840.1.101.3.4.2.4": hashes.SHA224(),
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}


def read_algorithm(data: bytes, part: der.Part) -> tuple[str, hashes.HashAlgorithm | None]:
    """Returns OID and digest of the AlgorithmIdentifier at `part` of `data`.

    The digest is None if it is unknown or there is none. Raises NotDer.
    """
    tag, start, stop = part
    inner = der.parts(data, start, stop)
    if tag != der.SEQUENCE or not 1 <= len(inner) <= 2:
        raise NotDer("an algorithm is missing")
    oid = der.oid(data, inner[0])
    if oid == _RSASSA_PSS:
        return oid, _pss_digest(data, inner[1]) if len(inner) == 2 else _PSS_DEFAULT
    return oid, _DIGESTS.get(oid)


def has_odd_parameters(oid: str, algorithm: bytes) -> bool:
    """Returns whether an ECDSA algorithm has parameters, which RFC 5758, 3.2, forbids.

    `algorithm` is the DER of the AlgorithmIdentifier, and `oid` its OID.
    """
    return oid.startswith(_ECDSA) and len(der.members(algorithm)) > 1


def algorithm_name(oid: str, digest: hashes.HashAlgorithm | None) -> str:
    """Returns the usual name of the algorithm `oid` with `digest`."""
    if oid == _RSASSA_PSS and digest:
        return f"RSASSA-PSS with {digest.name.upper()}"
    try:
        name: str = ObjectIdentifier(oid)._name
    except ValueError:  # the OID is too large for the library
        return oid
    return name if name != "Unknown OID" else oid


def holds(
    key: CertificatePublicKeyTypes | None,
    signature: bytes,
    content: bytes,
    algorithm: tuple[str, hashes.HashAlgorithm | None],
) -> bool:
    """Returns whether the private key of `key` signed `content`. Never raises."""
    oid, digest = algorithm
    try:
        match key:
            case rsa.RSAPublicKey() if digest and oid == _RSASSA_PSS:
                key.verify(signature, content, PSS(MGF1(digest), PSS.AUTO), digest)
            case rsa.RSAPublicKey() if digest:
                key.verify(signature, content, PKCS1v15(), digest)
            case ec.EllipticCurvePublicKey() if digest:
                key.verify(signature, content, ec.ECDSA(digest))
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
                key.verify(signature, content)
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _pss_digest(data: bytes, part: der.Part) -> hashes.HashAlgorithm | None:
    for tag, start, stop in der.parts(data, part[1], part[2]):
        if tag == 0xA0:
            _, at, end = der.part_at(data, start, stop)
            return _PSS_DIGESTS.get(der.oid(data, der.part_at(data, at, end)))
    return _PSS_DEFAULT
