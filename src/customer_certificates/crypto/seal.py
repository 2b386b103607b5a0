"""Seals private keys: opening one requires the user's data key."""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .sealed_format import HEADER, MAGIC, NONCE, SUITE, DataKey, KeyContext, aad, derive
from .secret import Secret


def seal(key: Secret, data_key: DataKey, context: KeyContext) -> bytes:
    """Returns `key` as a blob that only opens at `context` with `data_key`."""
    salt = os.urandom(16)
    record_key, commitment = derive(data_key.key, salt, context)
    header = HEADER.pack(MAGIC, SUITE, data_key.version, salt, commitment)
    sealed = AESGCM(record_key).encrypt(NONCE, key.reveal(), aad(context, header))
    return header + sealed
