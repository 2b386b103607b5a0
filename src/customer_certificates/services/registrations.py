"""How many users may register from one client network, where anybody may register."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, DateTime, bindparam, case, delete, select

from ..errors import Finding, TooManyRequests
from ..gateways.client_networks import client_network
from ..gateways.database import EVERYBODY, Database, Transaction
from ..gateways.prepared import Row
from ..gateways.sql import insert_or_set
from ..models import Registration

_WINDOW = timedelta(hours=24)
_MOST = 20
_REMOVED_AT_ONCE = 1000


class Registrations:
    """Counts registrations without credentials: by client network, all processes together."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        of_network = Registration.network == bindparam("of_network")
        over: Any = Registration.since <= bindparam("expired", type_=DateTime(timezone=True))
        self._find = database.prepare(
            select(Registration.number, Registration.since).where(of_network, ~over), tenant=None
        )
        started: Any = bindparam("started", type_=DateTime(timezone=True))
        self._add = database.prepare(
            insert_or_set(
                Registration,
                Registration.network,
                {
                    "number": case((over, 1), else_=Registration.number + 1),
                    "since": case((over, started), else_=Registration.since),
                },
            ).returning(Registration.number, Registration.since),
            ("network", "since", "number"),
        )
        oldest = (
            select(Registration.network)
            .where(over)
            .order_by(Registration.since)
            .limit(bindparam("limit", type_=BigInteger))
            .with_for_update(skip_locked=True)
        )
        self._remove = database.prepare(
            delete(Registration)
            .where(Registration.network.in_(oldest))
            .returning(Registration.network)
        )

    def require_room(self, peer: str) -> None:
        """Raises TooManyRequests if the network of `peer` has used up its registrations.

        To be called before anything is spent on one more; `add` decides.
        """
        now = self._now()
        rows = self._find(of_network=client_network(peer), expired=now - _WINDOW)
        for number, since in rows:
            _require(number + 1, since, now)

    def add(self, session: Transaction, peer: str) -> None:
        """Counts a registration from `peer`, if the transaction is committed.

        Raises TooManyRequests if it is one too many. Registrations from the same network wait for
        one another, so the count is exact.
        """
        now = self._now()
        values = {"network": client_network(peer), "since": now, "number": 1}
        times = {"started": now, "expired": now - _WINDOW}
        ((number, since),) = session.run(self._add, **values, **times)
        _require(number, since, now)

    def clean(self) -> int:
        """Removes counts that are over; returns how many."""
        number = 0
        while True:
            with self._database.begin(EVERYBODY) as session:
                expired = self._now() - _WINDOW
                removed: list[Row] = session.run(
                    self._remove, expired=expired, limit=_REMOVED_AT_ONCE
                )
            number += len(removed)
            if len(removed) < _REMOVED_AT_ONCE:
                return number


def _require(number: int, since: datetime, now: datetime) -> None:
    if number > _MOST:
        raise TooManyRequests(
            f"Quota exceeded: {_MOST} users may register from one address (IPv6: /64 network) in "
            "24 hours. Retry after the delay in Retry-After, or ask an operator of this service "
            "to register the user.",
            errors=[
                Finding(
                    "quota_exceeded",
                    "registrations",
                    f"{_MOST} users have registered from this address or /64 network.",
                    "Retry later, or ask an operator of this service to register the user.",
                )
            ],
            retry_after=max(1, int((since + _WINDOW - now).total_seconds()) + 1),
        )
