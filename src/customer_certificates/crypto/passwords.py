"""Password hashes: argon2id, and the bcrypt hashes of the older system."""

import base64
import hashlib

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


class PasswordHashes:
    """Makes and checks hashes at one cost. Slow on purpose: not for a request's own thread."""

    def __init__(self, cost: tuple[int, int, int]) -> None:
        """`cost` is argon2id's, as RFC 9106 has it: KiB of memory, passes, lanes."""
        memory, passes, lanes = cost
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=lanes)

    def make(self, password: str) -> str:
        """A hash of `password` with a salt of its own, in PHC's string format."""
        return self._hasher.hash(password)

    def matches(self, made: str, password: str) -> bool:
        """Whether `made` is a hash of `password`. False for what is no hash at all."""
        try:
            if made.startswith("$2"):
                return bcrypt.checkpw(_sha256_base64(password), made.encode())
            return self._hasher.verify(made, password)
        except (VerificationError, InvalidHashError, ValueError):
            return False

    def is_outdated(self, made: str) -> bool:
        """Whether `made` is not what `make` would make now: another algorithm or cost."""
        return made.startswith("$2") or self._hasher.check_needs_rehash(made)


def _sha256_base64(password: str) -> bytes:
    """What the older system gave to bcrypt, which reads no more than 72 bytes."""
    return base64.b64encode(hashlib.sha256(password.encode()).digest())
