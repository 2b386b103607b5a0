"""The cost of authentication for a read."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

from customer_certificates.gateways.database import migration_engine
from tests.credentials import bearer, make_token
from tests.servers import Server

from . import load
from .contenders import Ours
from .pairs import lost_in_pairs
from .workloads import CERTIFICATE, LONG_LIST, ONE_USER, SHORT_LIST

_READS = (ONE_USER, SHORT_LIST, LONG_LIST, CERTIFICATE)


@contextmanager
def closed(ours: Ours, more: dict[str, str] | None = None) -> Iterator[Server]:
    """The service with the profile prd. What a caller may ask is counted, but never too much."""
    settings = {
        "CC_ENV": "prd",
        "CC_HOSTNAME_PROOF": "preferred",
        "CC_MASTER_KEY": f"file:{ours.var / 'master-key'}",
        "CC_RATE_LIMIT": "1000000",
        **(more or {}),
    }
    server = ours.start(ours.closed_database, settings)
    try:
        yield server
    finally:
        server.stop()


def headers(ours: Ours) -> dict[str, str]:
    """Those of a request that shows an operator's token."""
    engine = migration_engine(
        ours.closed_database.replace("postgresql://", "postgresql+psycopg://")
    )
    made = bearer(make_token(engine, "operator"))
    engine.dispose()
    return made


def cost(ours: Ours, rounds: int) -> tuple[float, list[str]]:
    """Per cent of reads that are lost where a token is checked, as the median over all kinds of
    reads; and a line for each kind."""
    lines, medians = list[str](), list[float]()
    with closed(ours) as checking:
        asks = (
            partial(load.wrk, ours.server.url),
            partial(load.wrk, checking.url, headers=headers(ours)),
        )
        for work in _READS:
            lost = lost_in_pairs(work, asks, rounds)
            medians.append(median(lost))
            lines.append(
                f"{work.title}: with credentials checked {median(lost):.0f} % fewer reads "
                f"(pairs {min(lost):.0f} to {max(lost):.0f} %)"
            )
    return median(medians), lines
