"""Sealed private keys are opened. One service imports this: a key leaves by one door."""

from collections.abc import Mapping
from hmac import compare_digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .sealed_format import (
    HEADER,
    MAGIC,
    NONCE,
    SUITE,
    TAG_BYTES,
    CannotOpen,
    KeyContext,
    aad,
    derive,
)
from .secret import Secret


def unseal(blob: bytes, data_keys: Mapping[int, Secret], place: KeyContext) -> Secret:
    """The private key that was sealed at `place`; `data_keys` are the user's, by version.

    Raises CannotOpen, whatever is wrong with it.
    """
    if len(blob) < HEADER.size + TAG_BYTES:
        raise CannotOpen("It is too short.")
    header = blob[: HEADER.size]
    magic, suite, data_key_version, salt, commitment = HEADER.unpack(header)
    data_key = data_keys.get(data_key_version)
    if (magic, suite) != (MAGIC, SUITE) or data_key is None:
        raise CannotOpen("It is of another kind, or sealed with a data key that is not there.")
    record_key, expected = derive(data_key, salt, place)
    # AES-GCM alone would let a blob be made that opens under two keys.
    if not compare_digest(commitment, expected):
        raise CannotOpen("It belongs elsewhere, or was changed.")
    try:
        opened = AESGCM(record_key).decrypt(NONCE, blob[HEADER.size :], aad(place, header))
    except InvalidTag:
        raise CannotOpen("It was changed.") from None
    return Secret(opened)
