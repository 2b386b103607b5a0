"""One link of a chain: whether a certificate may issue others, and whether it issued this one."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from .certificates import Certificate

# A signature by a larger RSA key takes milliseconds to verify, and somebody else's time.
_MOST_RSA_BITS = 8192
_MOST_RSA_EXPONENT_BITS = 33
# CA/Browser Forum, Baseline Requirements 6.1.5.
LEAST_RSA_BITS = 2048

_WEAK_HASHES = {"md5", "sha1"}

_FOR_SERVERS = {
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}


class Signatures:
    """Verifies signatures, each once, and no more than `most` of them."""

    def __init__(self, most: int = 50) -> None:
        self._left = most
        self._known: dict[tuple[str, str], bool] = {}

    def holds(self, child: Certificate, issuer: Certificate) -> bool:
        """Whether `issuer`, by name and key, signed `child`. False where it was not looked at:
        its key is too costly to use, or too many were looked at."""
        link = child.fingerprint, issuer.fingerprint
        if link not in self._known:
            if self._left <= 0 or not _is_affordable(issuer):
                return False
            self._left -= 1
            self._known[link] = child.is_signed_by(issuer)
        return self._known[link]


def matches_key(child: Certificate, issuer: Certificate) -> bool:
    """Whether the key identifiers do not speak against the link (RFC 5280, 4.2.1.1)."""
    return child.aki is None or issuer.ski is None or child.aki == issuer.ski


def why_no_issuer(issuer: Certificate, path: Sequence[Certificate]) -> str | None:
    """Why `issuer` may not issue the last of `path`, leaf first; None where it may.

    RFC 5280, 4.2.1.9 (basicConstraints, path length), 4.2.1.3 (keyUsage); and as clients do, the
    purposes of an authority bound those of what is beneath it.
    """
    if not issuer.is_ca and not _is_old_root(issuer):
        return "is no certificate authority (basicConstraints)"
    if issuer.key_usage and not issuer.key_usage.key_cert_sign:
        return "may not sign certificates (keyUsage has no keyCertSign)"
    if issuer.eku is not None and not issuer.eku & _FOR_SERVERS:
        return "may not issue certificates for servers (extendedKeyUsage)"
    beneath = sum(not one.self_issued for one in path[1:])
    if issuer.path_length is not None and beneath > issuer.path_length:
        return f"allows {issuer.path_length} authorities beneath it, and there are {beneath}"
    if not _is_affordable(issuer):
        return "has a key that clients do not take"
    return None


def has_weak_signature(certificate: Certificate) -> bool:
    """Whether it was signed with MD5 or SHA-1, for which collisions can be made (RFC 9155)."""
    return certificate.digest is not None and certificate.digest.name in _WEAK_HASHES


def too_few_bits(certificate: Certificate) -> int | None:
    """The bits of its key where that is an RSA key which clients accept no more."""
    key = certificate.public_key
    return key.key_size if isinstance(key, RSAPublicKey) and key.key_size < LEAST_RSA_BITS else None


def _is_old_root(issuer: Certificate) -> bool:
    """Whether it was made before extensions were: such a root is trusted because it is a root."""
    return issuer.self_issued and issuer.is_version_1


def _is_affordable(issuer: Certificate) -> bool:
    key = issuer.public_key
    if not isinstance(key, RSAPublicKey):
        return key is not None
    exponent_bits = key.public_numbers().e.bit_length()
    return key.key_size <= _MOST_RSA_BITS and exponent_bits <= _MOST_RSA_EXPONENT_BITS
