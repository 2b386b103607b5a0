"""Purges old records, and recounts users' stored data."""

from typing import NamedTuple

from ..composition import Services
from ..config import Config
from ..gateways.database.schema import require_head
from ..services.quotas.usage import Usage
from ..services.rate_counts import RateCounts


class Purged(NamedTuple):
    """The numbers of purged idempotent responses and corrected usage counters."""

    responses: int
    counters: int


def purge(config: Config) -> Purged:
    """Purges old idempotent responses, rate counts, console sessions and links. Recounts usage.

    Raises SchemaError, Unavailable.
    """
    require_head(config.database_url)
    with Services.of_command(config, threads=1) as services:
        services.console_sessions.purge()
        services.console_links.purge()
        RateCounts(services.database, services.now).purge()
        return Purged(services.idempotency.purge(), Usage(services.database).recount())
