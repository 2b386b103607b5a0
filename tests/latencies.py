"""Compares the latencies of a tenant while nothing else happens and beside an attack."""

from collections.abc import Iterable


def require_fair(quiet: Iterable[float], attacked: Iterable[float]) -> None:
    """Prints the 99th percentiles, in seconds. Beside an attack it must be at most three times the
    quiet one and 50 ms more."""
    before, beside = _p99(quiet), _p99(attacked)
    print(f"p99 {before:.3f} s, in the attack {beside:.3f} s")
    assert beside <= 3 * before + 0.05


def _p99(seconds: Iterable[float]) -> float:
    found = sorted(seconds)
    return found[int(0.99 * len(found)) - 1]
