"""Has tests that wait for processes run first, so that none is left alone at the end of a run."""

from collections.abc import Sequence

import pytest

from .parallel import COUNT

# Modules whose tests start processes, wait for time-outs or search at random, for seconds each.
_LONG = {
    "test_audit",
    "test_cache_faults",
    "test_canaries",
    "test_listing_checks",
    "test_prove_claims",
    "test_database",
    "test_database_faults",
    "test_differential",
    "test_documents",
    "test_fairness",
    "test_fuzzing",
    "test_history",
    "test_hostile_keys",
    "test_tls",
    "test_idempotency",
    "test_keys",
    "test_lifecycle",
    "test_migrations",
    "test_modes",
    "test_hardening",
    "test_ownership_model",
    "test_seal_plaintext_keys",
    "test_served",
    "test_terminators",
    "test_wire",
    "test_worker",
}


def long_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """`items` with the long ones first in the share that each process begins with.

    `--dist=worksteal` gives each process so many tests in a row, and takes from the end of a share
    for who has none left.
    """
    size = -(-len(items) // COUNT) or 1
    shares = [items[start : start + size] for start in range(0, len(items), size)]
    return [item for share in shares for item in _long_first(share)]


def _long_first(share: Sequence[pytest.Item]) -> list[pytest.Item]:
    # Tests on one backend stay together: to make the other one's fixtures takes seconds.
    number, backend = 0, None
    places: list[tuple[int, bool, pytest.Item]] = []
    for item in share:
        asked = item.callspec.params.get("backend") if hasattr(item, "callspec") else None
        if asked not in (None, backend):
            number, backend = number + 1, asked
        places.append((number, item.path.stem not in _LONG, item))
    return [item for _, _, item in sorted(places, key=lambda place: place[:2])]
