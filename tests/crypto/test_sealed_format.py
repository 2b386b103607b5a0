"""Sealed keys have the format of docs/explanation/sealed-keys.md, and open for their row only."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from customer_certificates.crypto.seal import seal
from customer_certificates.crypto.sealed_format import CannotOpen, DataKey, KeyContext
from customer_certificates.crypto.secret import Secret
from customer_certificates.crypto.unseal import unseal

from ..second_decoder import open_blob

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("vectors.json").read_text())
KEY, DATA_KEY, PLACE = (
    Secret(b"the private key"),
    DataKey(3, Secret(b"d" * 32)),
    KeyContext(1, 2, 3),
)
DATA_KEYS = {DATA_KEY.version: DATA_KEY.key}


def read(vector: dict[str, Any]) -> tuple[DataKey, KeyContext, bytes, bytes]:
    data_key = DataKey(vector["data_key_version"], Secret(bytes.fromhex(vector["data_key"])))
    place = KeyContext(vector["user_id"], vector["certificate_id"], vector["version"])
    return data_key, place, bytes.fromhex(vector["plaintext"]), bytes.fromhex(vector["blob"])


@pytest.mark.parametrize("vector", VECTORS)
def test_the_published_vectors_are_made_and_opened(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_key, place, plaintext, blob = read(vector)
    monkeypatch.setattr(os, "urandom", lambda _: bytes.fromhex(vector["salt"]))

    assert seal(Secret(plaintext), data_key, place) == blob
    assert unseal(blob, {data_key.version: data_key.key}, place).reveal() == plaintext


@pytest.mark.parametrize("vector", VECTORS)
def test_a_second_decoder_agrees(vector: dict[str, Any]) -> None:
    data_key, place, plaintext, blob = read(vector)
    ours = seal(Secret(plaintext), data_key, place)

    assert open_blob(blob, data_key.key.reveal(), *place) == plaintext
    assert open_blob(ours, data_key.key.reveal(), *place) == plaintext


def test_no_two_blobs_share_a_salt() -> None:
    blobs = {seal(KEY, DATA_KEY, PLACE) for _ in range(100)}

    assert len({blob[9:25] for blob in blobs}) == 100


def test_every_flipped_bit_is_refused() -> None:
    blob = seal(KEY, DATA_KEY, PLACE)
    for bit in range(len(blob) * 8):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CannotOpen):
            unseal(bytes(flipped), DATA_KEYS, PLACE)


def test_every_truncation_and_extension_is_refused() -> None:
    blob = seal(KEY, DATA_KEY, PLACE)
    for wrong in [*(blob[:length] for length in range(len(blob))), blob + b"\0"]:
        with pytest.raises(CannotOpen):
            unseal(wrong, DATA_KEYS, PLACE)


@pytest.mark.parametrize(
    "place",
    [
        KeyContext(2, 2, 3),
        KeyContext(1, 1, 3),
        KeyContext(1, 2, 2),
        KeyContext(2, 1, 3),
        KeyContext(0, 0, 0),
    ],
)
def test_a_blob_that_was_moved_is_refused(place: KeyContext) -> None:
    with pytest.raises(CannotOpen):
        unseal(seal(KEY, DATA_KEY, PLACE), DATA_KEYS, place)


@pytest.mark.parametrize(
    "data_keys", [{}, {3: Secret(b"e" * 32)}, {2: DATA_KEY.key}, {4: DATA_KEY.key}]
)
def test_no_other_data_key_opens_it(data_keys: dict[int, Secret]) -> None:
    with pytest.raises(CannotOpen):
        unseal(seal(KEY, DATA_KEY, PLACE), data_keys, PLACE)


def test_a_blob_named_after_another_data_key_of_the_user_is_refused() -> None:
    blob = seal(KEY, DATA_KEY, PLACE)
    renamed = blob[:5] + (4).to_bytes(4) + blob[9:]
    with pytest.raises(CannotOpen):
        unseal(renamed, {3: DATA_KEY.key, 4: DATA_KEY.key}, PLACE)
