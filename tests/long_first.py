"""Has tests that wait for processes run first, so that none is left alone at the end of a run."""

from collections.abc import Sequence

import pytest

from .parallel import COUNT

# Modules whose tests start processes, wait for time-outs or search at random, for seconds each.
_LONG = {
    "test_cache_faults",
    "test_canaries",
    "test_claim_proofs",
    "test_database_faults",
    "test_differential",
    "test_freshness",
    "test_fuzzing",
    "test_https",
    "test_idempotency",
    "test_keys",
    "test_lifecycle",
    "test_migrations",
    "test_modes",
    "test_no_dumps",
    "test_ownership_model",
    "test_sealing_migration",
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
    return [item for share in shares for item in sorted(share, key=_is_short)]


def _is_short(item: pytest.Item) -> bool:
    return item.path.stem not in _LONG
