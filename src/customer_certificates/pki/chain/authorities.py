"""Rules of clients for CA certificates that OpenSSL cannot check here."""

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..x509.certificate import Certificate
from .verification import name_hash, subject_hash

# Verifying a signature of a larger RSA key takes milliseconds.
_MOST_RSA_BITS = 8192
_MOST_RSA_EXPONENT_BITS = 33
# CA/Browser Forum, Baseline Requirements 6.1.5.
LEAST_RSA_BITS = 2048

_WEAK_HASHES = {"md5", "sha1"}

# Accepted by OpenSSL, Chrome and Firefox.
_SOUND_HASHES = {"sha256", "sha384", "sha512"}
_CURVES = {"secp256r1", "secp384r1", "secp521r1"}
_EDWARDS = {"1.3.101.112", "1.3.101.113"}


def is_self_issued(certificate: Certificate) -> bool:
    """Returns whether subject and issuer are the same name (RFC 5280, 7.1)."""
    return certificate.subject == certificate.issuer or (
        subject_hash(certificate.der) == name_hash(certificate.issuer)
    )


def may_issue_for_servers(authority: Certificate) -> bool:
    """Returns whether the purposes (extendedKeyUsage) of `authority` include TLS servers."""
    purposes = authority.extensions.eku
    return purposes is None or ExtendedKeyUsageOID.SERVER_AUTH in purposes


def matches_key(child: Certificate, issuer: Certificate) -> bool:
    """Returns whether the key identifiers are consistent with the link (RFC 5280, 4.2.1.1)."""
    aki, ski = child.extensions.aki, issuer.extensions.ski
    return aki is None or ski is None or aki == ski


def has_weak_signature(certificate: Certificate) -> bool:
    """Returns whether MD5 or SHA-1 was used, for which collisions exist (RFC 9155)."""
    digest = certificate.signature.digest
    return digest is not None and digest.name in _WEAK_HASHES


def has_accepted_signature(certificate: Certificate) -> bool:
    """Returns whether browsers accept the signature algorithm.

    Ed25519 and Ed448 count as accepted: browsers reject the issuer's key, which has its own
    finding.
    """
    if certificate.signature.digest is None:
        return certificate.signature.oid in _EDWARDS
    return certificate.signature.digest.name in _SOUND_HASHES


def is_key_refused(authority: Certificate) -> bool:
    """Returns whether browsers reject signatures by this type of key, whatever its size."""
    match authority.public_key:
        case RSAPublicKey():
            return False
        case EllipticCurvePublicKey(curve=curve):
            return curve.name not in _CURVES
    return True


def too_few_bits(certificate: Certificate) -> int | None:
    """Returns the bits of an RSA key that is too small for clients, otherwise None."""
    key = certificate.public_key
    return key.key_size if isinstance(key, RSAPublicKey) and key.key_size < LEAST_RSA_BITS else None


def is_affordable(issuer: Certificate) -> bool:
    """Returns whether verifying a signature by its key has a normal cost."""
    key = issuer.public_key
    if not isinstance(key, RSAPublicKey):
        return key is not None
    exponent_bits = key.public_numbers().e.bit_length()
    return key.key_size <= _MOST_RSA_BITS and exponent_bits <= _MOST_RSA_EXPONENT_BITS
