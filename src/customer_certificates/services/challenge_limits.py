"""How many checks of all users may ask one domain, and one DNS server, in a time."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

import msgspec
from cachetools import TTLCache
from sqlalchemy import DateTime, Text, bindparam, case, delete, literal, select, true
from sqlalchemy.dialects import postgresql

from ..gateways.database import EVERYBODY, Database
from ..gateways.dns import Dns, LookupFailed
from ..gateways.outbound.deadline import Deadline
from ..gateways.sql import items_of
from ..models import CheckCount
from ..pki.names import address_of
from ..pki.registrable import registrable_domain

_WINDOW = timedelta(minutes=10)
# One customer may prove many names of one domain; a provider's servers have many customers.
MOST_OF_DOMAIN = 120
MOST_OF_SERVER = 1200
# One user causes a third of those at most. Otherwise a user could use up the checks of another
# user's domain, and keep that user from proving it.
_SHARE = 3
_MOST_SERVERS = 4
_LOOKUP_SECONDS = 2.0
_KEPT_ZONES, _KEPT_SECONDS = 4096, 600

_TIME = DateTime(timezone=True)


class CheckLimits:
    """Counts in the database, so that all processes count together.

    Without limits, tenants could have the service flood a domain, or the DNS servers that any
    number of their own domains name.
    """

    def __init__(self, database: Database, dns: Dns, now: Callable[[], datetime]) -> None:
        self._database = database
        self._dns = dns
        self._now = now
        self._lock = Lock()
        self._servers: TTLCache[str, tuple[str, ...]] = TTLCache(_KEPT_ZONES, _KEPT_SECONDS)
        self._add = database.prepare(_addition(), tenant=None)
        self._clean = database.prepare(
            delete(CheckCount)
            .where(CheckCount.ends_at <= bindparam("now", type_=_TIME))
            .returning(CheckCount.name),
            tenant=None,
        )

    def take(self, hostname: str, user_id: int) -> int | None:
        """Counts a check for the user. Returns the seconds to wait if there were too many; None:
        go on.

        Raises Unavailable.
        """
        domain = registrable_domain(hostname)
        wait = self._take([f"domain:{domain}"], MOST_OF_DOMAIN, user_id)
        if wait is None and (servers := self._servers_of(domain)):
            names = [f"server:{server}" for server in servers]
            wait = self._take(names, MOST_OF_SERVER, user_id)
        return wait

    def clean(self) -> int:
        """Deletes counts whose time is over. Returns how many. Raises Unavailable."""
        (deleted,) = self._database.run_together(EVERYBODY, (self._clean, {"now": self._now()}))
        return len(deleted)

    def _take(self, names: Sequence[str], most: int, user_id: int) -> int | None:
        """Counts for the user first: what the user has no share left for uses up nobody else's."""
        own = [f"{name} user:{user_id}" for name in names]
        wait = self._count(own, most // _SHARE)
        return self._count(names, most) if wait is None else wait

    def _count(self, names: Sequence[str], most: int) -> int | None:
        now = self._now()
        values = {
            "names": msgspec.json.encode(names).decode(),
            "now": now,
            "end": now + _WINDOW,
        }
        (rows,) = self._database.run_together(EVERYBODY, (self._add, values))
        waits = [(ends_at - now).total_seconds() for number, ends_at in rows if number > most]
        return int(max(waits)) + 1 if waits else None

    def _servers_of(self, domain: str) -> tuple[str, ...]:
        """The addresses of the DNS servers of a domain, kept for ten minutes; names of those that
        have none."""
        if address_of(domain):
            return ()
        with self._lock:
            known: tuple[str, ...] | None = self._servers.get(domain)
        if known is None:
            known = self._look_up(domain, Deadline(_LOOKUP_SECONDS))
            with self._lock:
                self._servers[domain] = known
        return known

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


def _addition() -> Any:
    """Adds one to each count; one whose time is over begins anew."""
    names = items_of(bindparam("names", type_=Text))
    now, end = bindparam("now", type_=_TIME), bindparam("end", type_=_TIME)
    insert = postgresql.insert(CheckCount)
    is_over = CheckCount.ends_at <= now
    return (
        insert.from_select(
            ["name", "number", "ends_at"],
            # In one order, so that two transactions do not wait for one another.
            select(names.c.value, literal(1), end).where(true()).order_by(names.c.value),
        )
        .on_conflict_do_update(
            index_elements=[CheckCount.name],
            set_={
                "number": case((is_over, 1), else_=CheckCount.number + 1),
                "ends_at": case((is_over, insert.excluded.ends_at), else_=CheckCount.ends_at),
            },
        )
        .returning(CheckCount.number, CheckCount.ends_at)
    )
