"""The only type that holds private keys, data keys and master keys in memory."""

from hmac import compare_digest
from typing import ClassVar, NoReturn


class Secret:
    """Bytes that cannot be disclosed by mistake.

    Printing, formatting and logging show `***`. Pickling, copying and JSON encoding fail. `reveal`
    is the only way to the value, and is easy to find in the code.
    """

    __slots__ = ("_value",)
    __hash__: ClassVar[None] = None  # unhashable, so that no secret becomes a dictionary key

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Returns the bytes."""
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
        """Raises TypeError: pickle and copy call this method."""
        raise TypeError("A secret cannot be pickled or copied.")
