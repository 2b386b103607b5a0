"""The format of a sealed private key; see docs/explanation/sealed-keys.md."""

import struct
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .secret import Secret

MAGIC, SUITE = b"CCK1", 1
# Magic, suite, version of the data key, salt, commitment. The ciphertext and its tag follow.
HEADER = struct.Struct(">4sBI16s32s")
TAG_BYTES = 16
# A constant nonce is safe: each record key is used once.
NONCE = bytes(12)

_RECORD = b"cc/record/v1"
_PRIVATE_KEY = b"cc/private-key/v1"
_IDS = struct.Struct(">QQI")


class CannotOpen(Exception):  # noqa: N818
    """The blob was changed, moved or truncated, or the key is wrong."""


class DataKey(NamedTuple):
    """A user's data key. Sealed keys contain its version."""

    version: int
    key: Secret


class KeyContext(NamedTuple):
    """The place of a sealed key. The key opens nowhere else."""

    user_id: int
    certificate_id: int
    version: int


def derive(data_key: Secret, salt: bytes, context: KeyContext) -> tuple[bytes, bytes]:
    """Returns the record key and the commitment to it, 32 bytes each."""
    material = HKDF(SHA256(), 64, salt, _RECORD + _IDS.pack(*context)).derive(data_key.reveal())
    return material[:32], material[32:]


def aad(context: KeyContext, header: bytes) -> bytes:
    """Returns the associated data that the tag authenticates besides the key."""
    return _PRIVATE_KEY + _IDS.pack(*context) + header
