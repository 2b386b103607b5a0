"""Opens sealed private keys. Only one service imports this module: it alone releases keys."""

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


def unseal(blob: bytes, data_keys: Mapping[int, Secret], context: KeyContext) -> Secret:
    """Returns the private key that was sealed at `context`.

    `data_keys` are the user's, by version. Raises CannotOpen for any fault of the blob.
    """
    if len(blob) < HEADER.size + TAG_BYTES:
        raise CannotOpen("The blob is too short.")
    header = blob[: HEADER.size]
    magic, suite, data_key_version, salt, commitment = HEADER.unpack(header)
    data_key = data_keys.get(data_key_version)
    if (magic, suite) != (MAGIC, SUITE) or data_key is None:
        raise CannotOpen("The blob has another format, or its data key is missing.")
    record_key, expected = derive(data_key, salt, context)
    # AES-GCM alone permits a blob that opens with two keys.
    if not compare_digest(commitment, expected):
        raise CannotOpen("The blob belongs elsewhere, or was changed.")
    try:
        opened = AESGCM(record_key).decrypt(NONCE, blob[HEADER.size :], aad(context, header))
    except InvalidTag:
        raise CannotOpen("The blob was changed.") from None
    return Secret(opened)
