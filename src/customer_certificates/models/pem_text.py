"""Stores PEM certificates as DER, which takes a quarter less space."""

from base64 import b64decode, b64encode
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, LargeBinary, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

_BEGIN, _END = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
_LINE = 64
# A DER SEQUENCE whose length takes two bytes, as that of all realistic certificates. No text in
# UTF-8 begins so.
_SEQUENCE = b"0\x82"
_HEADER_BYTES = 4


class PemText(TypeDecorator[str]):
    """A text, stored as DER if it consists of PEM certificates.

    The PEM must be formatted as the service writes it. Any other text is stored in UTF-8. SQLite
    stores DER as a BLOB and texts as they are, in one column.
    """

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kind: TypeEngine[Any] = Text() if dialect.name == "sqlite" else LargeBinary()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | bytes | None:
        if value is None:
            return None
        stored = _der_of(value)
        if stored is None:
            return value if dialect.name == "sqlite" else value.encode()
        return stored

    def process_result_value(self, value: str | bytes | None, dialect: Dialect) -> str | None:
        if value is None or isinstance(value, str):
            return value
        content = bytes(value)
        return _pem_of(content) if content.startswith(_SEQUENCE) else content.decode()


def stored_size(text: str) -> int:
    """Returns the number of bytes that a text takes in storage."""
    der = _der_of(text)
    return len(text.encode() if der is None else der)


def _der_of(text: str) -> bytes | None:
    """Returns the DER; None if the text is not PEM in the service's format."""
    if not text.startswith(_BEGIN):
        return None
    try:
        blocks = [b64decode(block.removeprefix(_BEGIN)) for block in text.split(_END)]
    except ValueError:
        return None
    der = b"".join(blocks)
    return der if _pem_of(der) == text else None


# body and chain_pem of one row are usually equal.
@lru_cache(256)
def _pem_of(der: bytes) -> str:
    """Returns the certificates of `der` in PEM.

    Returns nothing if it is not a sequence of certificates.
    """
    blocks = []
    while der:
        size = _HEADER_BYTES + int.from_bytes(der[2:_HEADER_BYTES], "big")
        if not der.startswith(_SEQUENCE) or len(der) < size:
            return ""
        text = b64encode(der[:size]).decode()
        lines = "\n".join(text[at : at + _LINE] for at in range(0, len(text), _LINE))
        blocks.append(f"{_BEGIN}{lines}\n{_END}")
        der = der[size:]
    return "".join(blocks)
