"""Ed25519 signatures: whoever has the public key can tell what was signed."""

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
    """A new private key, as PEM."""
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


class Signer:
    """Signs with a private key."""

    def __init__(self, pem: bytes) -> None:
        """Raises ValueError where `pem` has no Ed25519 key."""
        key = load_pem_private_key(pem, None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("no Ed25519 private key")
        self._key = key

    @property
    def public_pem(self) -> bytes:
        """The public key, as PEM."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, content: bytes) -> str:
        """The signature, in base64."""
        return b64encode(self._key.sign(content)).decode()


class Verifier:
    """Tells whether something was signed with the private key of a public one."""

    def __init__(self, pem: bytes) -> None:
        """Raises ValueError where `pem` has no Ed25519 public key."""
        key = load_pem_public_key(pem)
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("no Ed25519 public key")
        self._key = key

    def holds(self, signature: str, content: bytes) -> bool:
        """Whether `signature` is one of `content`."""
        try:
            self._key.verify(b64decode(signature, validate=True), content)
        except (InvalidSignature, ValueError):
            return False
        return True
