"""Writes and reads API tokens: `ccert_<kind>_<id>_<secret><checksum>`.

The checksum covers all characters before it. A scanner for leaked secrets can tell a token from a
text that only looks like one, without asking the service.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from typing import Literal, NamedTuple

TokenKind = Literal["user", "operator", "terminator"]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES = 32
# Enough digits for the largest value: 62**43 > 2**256, and 62**6 > 2**32.
_SECRET_DIGITS = 43
_CHECKSUM_DIGITS = 6
_FORM = re.compile(
    rf"(ccert_(user|operator|terminator)_([1-9][0-9]{{0,18}})_([0-9A-Za-z]{{{_SECRET_DIGITS}}}))"
    rf"([0-9A-Za-z]{{{_CHECKSUM_DIGITS}}})"
)


class TokenParts(NamedTuple):
    """The parts of a token. `secret` is the proof."""

    kind: str
    id: int
    secret: str

    def __repr__(self) -> str:
        return f"TokenParts({self.kind}, {self.id}, ***)"


def new_secret() -> str:
    """Returns 256 random bits as text of constant length."""
    return _base62(int.from_bytes(secrets.token_bytes(_SECRET_BYTES)), _SECRET_DIGITS)


def write(kind: TokenKind, token_id: int, secret: str) -> str:
    """Returns the token as given to its holder."""
    content = f"ccert_{kind}_{token_id}_{secret}"
    return content + _checksum(content)


def read(text: str) -> TokenParts | None:
    """Returns the parts of the token `text`; None if its format or checksum is wrong."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    content, kind, number, secret, checksum = found.groups()
    return TokenParts(kind, int(number), secret) if checksum == _checksum(content) else None


def digest(secret: str) -> bytes:
    """Returns the digest to store. The secret is random and needs no slower hash."""
    return hashlib.sha256(secret.encode()).digest()


def matches(stored: bytes, secret: str) -> bool:
    """Returns whether `stored` is the digest of `secret`, in constant time."""
    return hmac.compare_digest(stored, digest(secret))


def _checksum(content: str) -> str:
    return _base62(zlib.crc32(content.encode()), _CHECKSUM_DIGITS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
