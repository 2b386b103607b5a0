"""Ed25519 signatures, which anyone can verify with the public key."""

from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)


def new_key() -> bytes:
    """Returns a new private key in PEM."""
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


class Signer:
    """Signs with a private key."""

    def __init__(self, pem: bytes) -> None:
        """Raises ValueError if `pem` has no Ed25519 private key."""
        key = load_pem_private_key(pem, None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("no Ed25519 private key")
        self._key = key

    @property
    def public_pem(self) -> bytes:
        """The public key in PEM."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, content: bytes) -> str:
        """Returns the signature in base64."""
        return b64encode(self._key.sign(content)).decode()


class Verifier:
    """Verifies signatures with a public key."""

    def __init__(self, pem: bytes) -> None:
        """Raises ValueError if `pem` has no Ed25519 public key."""
        key = load_pem_public_key(pem)
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("no Ed25519 public key")
        self._key = key

    def holds(self, signature: str, content: bytes) -> bool:
        """Returns whether `signature` is a valid signature of `content`."""
        try:
            self._key.verify(b64decode(signature, validate=True), content)
        except (InvalidSignature, ValueError):
            return False
        return True
