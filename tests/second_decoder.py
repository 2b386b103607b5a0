"""Opens sealed keys, written from docs/explanation/sealed-keys.md without the service's code."""

import base64
import hashlib
import hmac
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEYS = sa.text(
    "SELECT p.certificate_id, p.version, p.sealed, c.user_id, u.wrapped, u.version AS key_version"
    " FROM private_keys p JOIN certificates c ON c.id = p.certificate_id"
    " JOIN user_keys u ON u.user_id = c.user_id ORDER BY p.certificate_id, p.version"
)


def open_blob(
    blob: bytes, data_key: bytes, user_id: int, certificate_id: int, version: int
) -> bytes:
    """The private key in a blob. Raises where anything is not as it should be."""
    if blob[:5] != b"CCK1\x01":
        raise ValueError("another kind")
    salt, commitment, ciphertext = blob[9:25], blob[25:57], blob[57:]
    ids = user_id.to_bytes(8) + certificate_id.to_bytes(8) + version.to_bytes(4)
    # RFC 5869.
    extracted = hmac.new(salt, data_key, hashlib.sha256).digest()
    record_key = hmac.new(extracted, b"cc/record/v1" + ids + b"\x01", hashlib.sha256).digest()
    expected = hmac.new(
        extracted, record_key + b"cc/record/v1" + ids + b"\x02", hashlib.sha256
    ).digest()
    if not hmac.compare_digest(commitment, expected):
        raise ValueError("another key or place")
    aad = b"cc/private-key/v1" + ids + blob[:57]
    return AESGCM(record_key).decrypt(bytes(12), ciphertext, aad)


def unwrap_with_file(master_key: Path, wrapped: bytes, user_id: int, version: int) -> bytes:
    """The data key that a master key in a file has wrapped."""
    key = base64.b64decode(master_key.read_text().partition(":")[2])
    aad = b"cc/data-key/v1" + user_id.to_bytes(8) + version.to_bytes(4)
    return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], aad)


def open_all(engine: sa.Engine, master_key: Path) -> dict[tuple[int, int], bytes]:
    """Every private key that is stored, by certificate and version."""
    with engine.connect() as connection:
        rows = connection.execute(KEYS).all()
    return {
        (row.certificate_id, row.version): open_blob(
            bytes(row.sealed),
            unwrap_with_file(master_key, bytes(row.wrapped), row.user_id, row.key_version),
            row.user_id,
            row.certificate_id,
            row.version,
        )
        for row in rows
        if int.from_bytes(bytes(row.sealed)[5:9]) == row.key_version
    }
