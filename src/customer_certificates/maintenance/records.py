"""Purges old records, and recounts users' stored data and the summary."""

from typing import NamedTuple

from ..composition import Services
from ..config import Config
from ..gateways.database.schema import require_head
from ..services.quotas.usage import Usage
from ..services.rate_counts import RateCounts


class Purged(NamedTuple):
    """The numbers of purged idempotent responses, and of corrected counters of each kind."""

    responses: int
    counters: int
    summary_counters: int


def purge(config: Config) -> Purged:
    """Purges old responses, rate counts and sessions, and recounts usage and the summary.

    Raises SchemaError, Unavailable.
    """
    require_head(config.database_url)
    with Services.of_command(config, threads=1) as services:
        services.console_sessions.purge()
        services.console_links.purge()
        RateCounts(services.database, services.now).purge()
        return Purged(
            services.idempotency.purge(),
            Usage(services.database).recount(),
            services.summary_counters.recount(),
        )
