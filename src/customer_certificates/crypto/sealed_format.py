"""What a sealed private key looks like: docs/explanation/sealed-keys.md has it in words."""

import struct
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .secret import Secret

MAGIC, SUITE = b"CCK1", 1
# Magic, suite, version of the data key, salt, commitment; the ciphertext and its tag follow.
HEADER = struct.Struct(">4sBI16s32s")
TAG_BYTES = 16
# Each record key is used once.
NONCE = bytes(12)

_RECORD = b"cc/record/v1"
_PRIVATE_KEY = b"cc/private-key/v1"
_IDS = struct.Struct(">QQI")


class CannotOpen(Exception):  # noqa: N818 - it says what cannot be done
    """A blob that was changed, moved or cut, or the wrong key for it. There is no telling which."""


class DataKey(NamedTuple):
    """A user's data key; sealed keys name its version."""

    version: int
    key: Secret


class KeyContext(NamedTuple):
    """Where a sealed key belongs: it opens nowhere else."""

    user_id: int
    certificate_id: int
    version: int


def derive(data_key: Secret, salt: bytes, place: KeyContext) -> tuple[bytes, bytes]:
    """The record key, and the commitment to it, of 32 bytes each."""
    material = HKDF(SHA256(), 64, salt, _RECORD + _IDS.pack(*place)).derive(data_key.reveal())
    return material[:32], material[32:]


def aad(place: KeyContext, header: bytes) -> bytes:
    """What the tag vouches for besides the key."""
    return _PRIVATE_KEY + _IDS.pack(*place) + header
