"""Tokens for links in emails: 128 random bits, of which only a digest is stored."""

import hashlib
import secrets

_BYTES = 16


def new_link_token() -> str:
    """Returns a new token in hexadecimal, which email programs neither truncate nor wrap."""
    return secrets.token_hex(_BYTES)


def digest_of(token: str) -> bytes:
    """Returns the SHA-256 to store. The token is random and needs no slower hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
