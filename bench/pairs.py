"""Two services compared in pairs of runs.

The load of a machine changes from one second to the next. So the two services are measured in turn,
each first in every second pair, and only the runs of one pair are compared.
"""

from collections.abc import Callable, Sequence

from .load import Result
from .workloads import Workload

_SECONDS = 2


def lost_in_pairs(
    work: Workload, asks: Sequence[Callable[[Workload, int], Result]], rounds: int
) -> list[float]:
    """Per cent of requests a second by which the second is behind the first, for each pair."""
    for ask in asks:
        ask(work, 1)
    lost = []
    for pair in range(2 * rounds):
        turn = (0, 1) if pair % 2 else (1, 0)
        rates = {which: asks[which](work, _SECONDS).per_second for which in turn}
        lost.append((1 - rates[1] / rates[0]) * 100)
    return lost
