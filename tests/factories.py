"""Real certificates and the people who bring them."""

import base64
import datetime
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

# The least that argon2 can do: what hashing costs is no matter to most tests.
CHEAPEST_HASHES = (8, 1, 1)

_numbers = itertools.count(1)


class Pair(NamedTuple):
    """A certificate in PEM, and its private key: in PEM, as it is stored, as the API takes it."""

    body: str
    key_pem: bytes
    key_der: bytes
    private_key: str


def a_user(**changes: Any) -> dict[str, Any]:
    """The body that registers a new user."""
    number = next(_numbers)
    return {
        "name": f"User {number}",
        "email": f"user{number}@example.com",
        "password": f"a good password, number {number}",
        **changes,
    }


def an_upload(hostname: str = "www.example.com", **changes: Any) -> dict[str, Any]:
    """The body that uploads a certificate for `hostname`, always the same one."""
    pair = a_pair(hostname)
    return {"body": pair.body, "private_key": pair.private_key, **changes}


_KEYS: dict[str, Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA-1024": lambda: rsa.generate_private_key(65537, 1024),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
}


def a_pair(hostname: str = "www.example.com", key: str = "P-256") -> Pair:
    """A key (a name in _KEYS) and its self-signed certificate for `hostname`; always the same."""
    return _issued(hostname, key)


@functools.cache
def _issued(hostname: str, key: str) -> Pair:
    private_key = _KEYS[key]()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostname)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(private_key, hashes.SHA256())
    )
    key_pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key_pem,
        private_key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        base64.b64encode(key_pem).decode(),
    )


def listed(certificate: dict[str, Any]) -> dict[str, Any]:
    """A certificate as lists and the answers of writes have it: they do not say what serves it."""
    return {name: value for name, value in certificate.items() if name != "serving"}
