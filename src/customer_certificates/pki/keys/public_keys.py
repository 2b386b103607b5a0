"""Names public keys, and checks whether a private key belongs to one."""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
    PublicKeyTypes,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ...errors import Finding

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

# Usual names (FIPS 186-5) for the curve names of cryptography.
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_NAMES = {
    "DH": "Diffie-Hellman",
    "MLDSA44": "ML-DSA-44",
    "MLDSA65": "ML-DSA-65",
    "MLDSA87": "ML-DSA-87",
}
_PROOF = b"customer-certificates: does this key belong to this certificate?"
# The OID id-ecPublicKey followed by a SEQUENCE. A named curve would be an OID.
EXPLICIT_CURVE = bytes.fromhex("06072a8648ce3d020130")


def key_algorithm(public_key: PublicKeyTypes) -> str:
    """Returns the algorithm: "RSA-2048", "ECDSA-P-256", "ECDSA-secp256k1" or "Ed25519"."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return f"RSA-{public_key.key_size}"
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return f"ECDSA-{_CURVES.get(public_key.curve.name, public_key.curve.name)}"
    name = type(public_key).__name__.removesuffix("PublicKey")
    return _NAMES.get(name, name)


def spki_of(public_key: PublicKeyTypes) -> bytes:
    """Returns the DER of the SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) of `public_key`."""
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def mismatch(
    key: PrivateKey, leaf_public_key: CertificatePublicKeyTypes, field: str = "private_key"
) -> Finding | None:
    """Returns `key_mismatch` if `key` does not belong to `leaf_public_key`. Never raises.

    The public keys are compared as SPKI. Then the private key must prove that it belongs to its
    public key, because a file can contain another one.
    """
    public_key = key.public_key()
    key_spki, leaf_spki = spki_of(public_key), spki_of(leaf_public_key)
    if key_spki != leaf_spki:
        return Finding(
            "key_mismatch",
            field,
            f"The private key ({_described(public_key, key_spki)}) does not match the certificate's"
            f" key ({_described(leaf_public_key, leaf_spki)}).",
            "Send the key that the certificate was requested with. Compare: openssl pkey -in"
            " key.pem -pubout; openssl x509 -in cert.pem -noout -pubkey",
        )
    try:
        _prove(key, leaf_public_key)
    except MemoryError:
        raise
    except Exception:  # the library raises many kinds of exceptions for bad private keys
        detail = (
            "The private key contains the certificate's public key "
            f"({_described(public_key, key_spki)}), but does not match it. The key is damaged."
        )
        hint = "Use the original key file or a backup of it."
        return Finding("key_mismatch", field, detail, hint)
    return None


def _prove(key: PrivateKey, public_key: CertificatePublicKeyTypes) -> None:
    """Raises an exception if `key` is not the private key of `public_key`."""
    match key, public_key:
        case rsa.RSAPrivateKey(), rsa.RSAPublicKey():
            signature = key.sign(_PROOF, padding.PKCS1v15(), SHA256())
            public_key.verify(signature, _PROOF, padding.PKCS1v15(), SHA256())
        case ec.EllipticCurvePrivateKey(), ec.EllipticCurvePublicKey():
            # This takes a third of the time of signing and verifying.
            number = key.private_numbers().private_value
            if ec.derive_private_key(number, key.curve).public_key() != public_key:
                raise InvalidSignature
        case ed25519.Ed25519PrivateKey(), ed25519.Ed25519PublicKey():
            public_key.verify(key.sign(_PROOF), _PROOF)
        case ed448.Ed448PrivateKey(), ed448.Ed448PublicKey():
            public_key.verify(key.sign(_PROOF), _PROOF)
        case _:
            raise InvalidSignature


def _described(public_key: PublicKeyTypes, spki: bytes) -> str:
    return f"{key_algorithm(public_key)}, SPKI SHA-256 {hashlib.sha256(spki).hexdigest()[:16]}…"
