"""The parts that check challenges, as the settings ask for: in the application and the worker."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from ..config import Config
from ..gateways.database import Database
from ..gateways.dns import Dns, Edge
from ..gateways.http_files import HttpFiles
from ..gateways.outbound_http import Outbound
from ..services.audit.log import Audit
from ..services.challenges.checks import Checks
from ..services.challenges.limits import CheckLimits
from ..services.challenges.proving import Proving
from ..services.hostnames.ownership import Hostnames

_FILE_SECONDS = 5.0


class Proofs(NamedTuple):
    """The parts that check challenges, and their limits."""

    checks: Checks
    proving: Proving
    limits: CheckLimits


def proofs_of(
    config: Config,
    database: Database,
    hostnames: Hostnames,
    audit: Audit,
    now: Callable[[], datetime],
) -> Proofs:
    """Returns the parts that check challenges."""
    dns = Dns(config.dns_resolvers)
    outbound = Outbound(
        # Customers have no certificate yet when they prove a name.
        https_only=False,
        allowed=config.webhook_allowed,
        own=config.own_addresses,
        roots_pem=config.roots_pem,
        seconds=_FILE_SECONDS,
    )
    edge = Edge(dns, config.edge_targets)
    checks = Checks(dns, edge, HttpFiles(outbound), config.challenge_domain)
    return Proofs(
        checks,
        Proving(database, checks, hostnames, audit, now),
        CheckLimits(database, dns, now),
    )
