"""The cost of encrypting a private key at an upload, and of decrypting it for a terminator."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

from customer_certificates.crypto.seal import seal
from customer_certificates.crypto.sealed_format import DataKey, KeyContext
from customer_certificates.crypto.secret import Secret
from customer_certificates.crypto.unseal import unseal
from tests.factories import a_pair

_CALLS = 2000


def cost(rounds: int) -> str:
    """Microseconds for a key of each kind, as medians."""
    data_key, place = DataKey(1, Secret(bytes(32))), KeyContext(1, 2, 3)
    lines = []
    for kind in ("P-256", "RSA-2048"):
        key = Secret(a_pair(key=kind).key_der)
        blob = seal(key, data_key, place)
        sealing, opening = list[float](), list[float]()
        for _ in range(rounds):
            sealing.append(_microseconds(partial(seal, key, data_key, place)))
            opening.append(_microseconds(partial(unseal, blob, {1: data_key.key}, place)))
        lines.append(
            f"sealing a {kind} key takes {median(sealing):.0f} µs, opening it {median(opening):.0f}"
            " µs (to be at most 40 together)"
        )
    return "\n".join(lines)


def _microseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(_CALLS):
        call()
    return (time.perf_counter() - start) / _CALLS * 1e6
