"""Password hashes: argon2id, and the bcrypt hashes of the previous system."""

import base64
import hashlib

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


class PasswordHashes:
    """Creates and verifies hashes with one cost. Too slow for the event loop."""

    def __init__(self, cost: tuple[int, int, int]) -> None:
        """`cost` is argon2id's, as in RFC 9106: KiB of memory, passes, lanes."""
        memory, passes, lanes = cost
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=lanes)

    def make(self, password: str) -> str:
        """Returns a hash of `password` with a new salt, in the PHC string format."""
        return self._hasher.hash(password)

    def matches(self, hash_: str, password: str) -> bool:
        """Returns whether `hash_` is a hash of `password`. False if `hash_` is not a hash."""
        try:
            if hash_.startswith("$2"):
                return bcrypt.checkpw(_sha256_base64(password), hash_.encode())
            return self._hasher.verify(hash_, password)
        except (VerificationError, InvalidHashError, ValueError):
            return False

    def is_outdated(self, hash_: str) -> bool:
        """Returns whether `hash_` has another algorithm or cost than new hashes."""
        return hash_.startswith("$2") or self._hasher.check_needs_rehash(hash_)


def _sha256_base64(password: str) -> bytes:
    """Returns the previous system's input to bcrypt, which reads at most 72 bytes."""
    return base64.b64encode(hashlib.sha256(password.encode()).digest())
