"""What it costs a read that its credentials are checked."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from customer_certificates.gateways.database import migration_engine
from customer_certificates.gateways.master_keys import make
from tests.credentials import bearer, make_token
from tests.servers import Server

from . import load, services
from .load import Result
from .workloads import WORKLOADS, Workload

_MOST_LOST = 0.15
_SECONDS = 2
_READS = [work for work in WORKLOADS if work.method == "GET"]
Ask = Callable[[Workload, int], Result]


def start_closed(folder: Path, database: str, cache: str) -> Server:
    """This service with the profile prd. What a caller may ask is counted, but never too much."""
    make(folder / "master-key")
    settings = {
        "CC_ENV": "prd",
        "CC_HOSTNAME_PROOF": "preferred",
        "CC_MASTER_KEY": f"file:{folder / 'master-key'}",
        "CC_RATE_LIMIT": "1000000",
    }
    return services.start_ours(folder, database, cache, settings)


def cost(opened: Server, closed: Server, database: str, rounds: int) -> str:
    """How many reads are lost where `closed`, on `database`, checks a token, and `opened` none.

    What a machine does besides changes from one second to the next. So the two are measured in
    turn, each first in every second pair, and a pair is compared with itself.
    """
    engine = migration_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    headers = bearer(make_token(engine, "operator"))
    engine.dispose()
    asks: list[Ask] = [
        partial(load.wrk, opened.url),
        partial(load.wrk, closed.url, headers=headers),
    ]
    return "\n".join(_line(work, asks, rounds) for work in _READS)


def _line(work: Workload, asks: list[Ask], rounds: int) -> str:
    for ask in asks:
        ask(work, _SECONDS)
    lost = []
    for pair in range(2 * rounds):
        turn = [0, 1] if pair % 2 else [1, 0]
        rates = {which: asks[which](work, _SECONDS).per_second for which in turn}
        lost.append(1 - rates[1] / rates[0])
    return (
        f"{work.title}: with credentials checked {median(lost):.0%} fewer reads "
        f"(to be at most {_MOST_LOST:.0%}; pairs {min(lost):.0%} to {max(lost):.0%})"
    )
