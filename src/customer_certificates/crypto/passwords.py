"""Password hashes: argon2id, and the bcrypt hashes of the previous system."""

import base64
import hashlib

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


class PasswordHashes:
    """Creates and verifies hashes with one cost. Deliberately slow: do not call it in the event
    loop."""

    def __init__(self, cost: tuple[int, int, int]) -> None:
        """`cost` is argon2id's, as in RFC 9106: KiB of memory, passes, lanes."""
        memory, passes, lanes = cost
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=lanes)

    def make(self, password: str) -> str:
        """Returns a hash of `password` with a new salt, in the PHC string format."""
        return self._hasher.hash(password)

    def matches(self, made: str, password: str) -> bool:
        """Returns whether `made` is a hash of `password`. False if `made` is not a hash."""
        try:
            if made.startswith("$2"):
                return bcrypt.checkpw(_sha256_base64(password), made.encode())
            return self._hasher.verify(made, password)
        except (VerificationError, InvalidHashError, ValueError):
            return False

    def is_outdated(self, made: str) -> bool:
        """Returns whether `made` has another algorithm or cost than new hashes."""
        return made.startswith("$2") or self._hasher.check_needs_rehash(made)


def _sha256_base64(password: str) -> bytes:
    """Returns the previous system's input to bcrypt, which reads at most 72 bytes."""
    return base64.b64encode(hashlib.sha256(password.encode()).digest())
