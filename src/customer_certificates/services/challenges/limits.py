"""Limits how often all checks query one domain, or one DNS server."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Lock

from cachetools import TTLCache

from ...gateways.database import Database
from ...gateways.dns import Dns, LookupFailed
from ...gateways.outbound_http.deadline import Deadline
from ...pki.names.hostnames import address_of
from ...pki.names.registrable import registrable_domain
from ..rate_counts import Rate, RateCounts

_WINDOW = timedelta(minutes=10)
# One customer may prove many names of one domain; a provider's servers have many customers.
MOST_OF_DOMAIN = 120
MOST_OF_SERVER = 1200
# One user causes at most a third of the checks. Otherwise a user could use up the checks of another
# user's domain, and prevent its proof.
_SHARE = 3
_MOST_SERVERS = 4
_LOOKUP_SECONDS = 2.0
_KEPT_ZONES, _KEPT_SECONDS = 4096, 600


class CheckLimits:
    """Counts in the database, so that all processes count together.

    Without limits, tenants could have the service flood a domain, or the DNS servers that any
    number of their own domains name.
    """

    def __init__(self, database: Database, dns: Dns, now: Callable[[], datetime]) -> None:
        self._counts = RateCounts(database, now)
        self._dns = dns
        self._lock = Lock()
        self._servers: TTLCache[str, tuple[str, ...]] = TTLCache(_KEPT_ZONES, _KEPT_SECONDS)

    def count(self, hostname: str, user_id: int) -> int | None:
        """Counts a check for the user, and returns the seconds to wait, or None.

        Raises Unavailable.
        """
        domain = registrable_domain(hostname)
        wait = self._count([f"domain/{domain}"], MOST_OF_DOMAIN, user_id)
        if wait is None and (servers := self._servers_of(domain)):
            names = [f"server/{server}" for server in servers]
            wait = self._count(names, MOST_OF_SERVER, user_id)
        return wait

    def _count(self, names: Sequence[str], most: int, user_id: int) -> int | None:
        """Counts for the user first: checks beyond that share must not count for others."""
        own = [_rate(f"{name}/user/{user_id}", most // _SHARE) for name in names]
        wait = self._counts.add_at_once(own)
        if wait is None:
            wait = self._counts.add_at_once([_rate(name, most) for name in names])
        return wait

    def _servers_of(self, domain: str) -> tuple[str, ...]:
        """Returns the addresses of a domain's DNS servers, or their names. Caches them."""
        if address_of(domain):
            return ()
        with self._lock:
            servers: tuple[str, ...] | None = self._servers.get(domain)
        if servers is None:
            servers = self._look_up(domain, Deadline(_LOOKUP_SECONDS))
            with self._lock:
                self._servers[domain] = servers
        return servers

    def _look_up(self, domain: str, deadline: Deadline) -> tuple[str, ...]:
        try:
            names = sorted(self._dns.ask_one(domain, "NS", deadline).values)[:_MOST_SERVERS]
        except LookupFailed:
            return ()
        servers = set()
        for name in names:
            try:
                found = self._dns.ask_one(name.decode(), "A", deadline).values
            except LookupFailed:
                found = ()
            servers.add(min(found, default=name).decode())
        return tuple(sorted(servers))


def _rate(name: str, most: int) -> Rate:
    return Rate(f"check/{name}", _WINDOW, most)
