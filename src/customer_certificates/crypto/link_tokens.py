"""The secrets in links that are mailed: 128 random bits, of which only a digest is stored."""

import hashlib
import secrets

_BYTES = 16


def new_link_token() -> str:
    """A new token, in hexadecimal: mail programs do not cut it off, nor wrap it."""
    return secrets.token_hex(_BYTES)


def digest_of(token: str) -> bytes:
    """The SHA-256 that is stored; the token is random, so nothing slower is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
