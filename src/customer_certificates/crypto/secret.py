"""The one type in which private keys, data keys and master keys are held in memory."""

from hmac import compare_digest
from typing import ClassVar, NoReturn


class Secret:
    """Bytes that are shown to nobody by mistake.

    Printed, formatted or logged it is `***`; it is not to be pickled, copied or made JSON of.
    `reveal` is the only way to what it holds, and easy to find in the code.
    """

    __slots__ = ("_value",)
    __hash__: ClassVar[None] = None  # what has a hash is kept as a key of something

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """What it holds."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, form: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self._value, other._value)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Pickle and copy ask here. Raises TypeError."""
        raise TypeError("A secret is not to be pickled or copied.")
