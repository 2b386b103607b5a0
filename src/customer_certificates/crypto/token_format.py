"""Tokens as text: `ccert_<kind>_<id>_<secret><checksum>`, made and read.

The checksum is over all that stands before it, so that whoever finds such a text, a scanner for
lost secrets say, knows without asking anybody whether it is a token or only looks like one.
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
# As many digits as the largest value needs: 62**43 > 2**256, and 62**6 > 2**32.
_SECRET_DIGITS = 43
_CHECKSUM_DIGITS = 6
_FORM = re.compile(
    rf"(ccert_(user|operator|terminator)_([1-9][0-9]{{0,18}})_([0-9A-Za-z]{{{_SECRET_DIGITS}}}))"
    rf"([0-9A-Za-z]{{{_CHECKSUM_DIGITS}}})"
)


class TokenParts(NamedTuple):
    """What a token says of itself; `secret` is the proof."""

    kind: str
    id: int
    secret: str

    def __repr__(self) -> str:
        return f"TokenParts({self.kind}, {self.id}, ***)"


def new_secret() -> str:
    """256 random bits, always as many characters."""
    return _base62(int.from_bytes(secrets.token_bytes(_SECRET_BYTES)), _SECRET_DIGITS)


def write(kind: TokenKind, token_id: int, secret: str) -> str:
    """The token as its holder is given it."""
    content = f"ccert_{kind}_{token_id}_{secret}"
    return content + _checksum(content)


def read(text: str) -> TokenParts | None:
    """What `text` consists of; None where it is no token, or its checksum does not hold."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    content, kind, number, secret, checksum = found.groups()
    return TokenParts(kind, int(number), secret) if checksum == _checksum(content) else None


def digest(secret: str) -> bytes:
    """What is stored in place of the secret; it is random, so nothing slower is needed."""
    return hashlib.sha256(secret.encode()).digest()


def matches(stored: bytes, secret: str) -> bool:
    """Whether `stored` is the digest of `secret`; the time it takes says no more."""
    return hmac.compare_digest(stored, digest(secret))


def _checksum(content: str) -> str:
    return _base62(zlib.crc32(content.encode()), _CHECKSUM_DIGITS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
