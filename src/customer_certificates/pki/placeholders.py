"""Creates untrusted certificates for hostnames that must not be served with another one."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

# The key needs no secrecy: no client trusts these certificates. Key and signatures are fixed, so a
# placeholder has the same bytes in every process.
KEY = Ed25519PrivateKey.from_private_bytes(sha256(b"placeholder").digest())
_KEY_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_START = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_REMEMBERED = 10_000


@lru_cache(_MOST_REMEMBERED)
def placeholder(hostname: str) -> tuple[str, str]:
    """Returns an expired self-signed certificate for `hostname` and its key, both in PEM."""
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(_START)
        .not_valid_after(_START + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=True)
        .sign(KEY, None)
    )
    return certificate.public_bytes(Encoding.PEM).decode(), _KEY_PEM
