"""Purges old records, and counts the stored data of users."""

from typing import NamedTuple

from ..composition import Services
from ..config import Config
from ..gateways.database.schema import require_head
from ..services.quotas.usage import Usage
from ..services.rate_counts import RateCounts


class Cleaned(NamedTuple):
    """How many kept answers were removed, and how many counters of users were wrong."""

    kept_answers: int
    counters: int


def clean(config: Config) -> Cleaned:
    """Removes kept answers and rate counts that are too old, and counts anew what users store.

    Raises SchemaError, Unavailable.
    """
    require_head(config.database_url)
    with Services.of_command(config, threads=1) as services:
        RateCounts(services.database, services.now).clean()
        return Cleaned(services.idempotency.clean(), Usage(services.database).recount())


def count_usage(config: Config) -> int:
    """Counts anew what users store; returns how many counters were wrong. Raises SchemaError,
    Unavailable."""
    require_head(config.database_url)
    with Services.of_command(config, threads=1) as services:
        return Usage(services.database).recount()
