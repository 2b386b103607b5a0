"""Limits registrations from one client network, if registration is open."""

from dataclasses import dataclass
from datetime import timedelta

from ...errors import Finding, TooManyRequests
from ...gateways.admission.client_networks import client_network
from ...gateways.database import Transaction
from ..rate_counts import Rate, RateCounts

_WINDOW = timedelta(hours=24)
_MOST = 20


@dataclass(frozen=True, slots=True)
class Registrations:
    """Counts registrations without credentials, by client network."""

    counts: RateCounts

    def require_room(self, peer: str) -> None:
        """Raises TooManyRequests if the network of `peer` has reached the limit.

        Call it before expensive work; `add` makes the final decision.
        """
        _require(self.counts.wait(_rate(peer)))

    def add(self, session: Transaction, peer: str) -> None:
        """Counts a registration from `peer`, if the transaction is committed.

        Raises TooManyRequests if it exceeds the limit.
        """
        _require(self.counts.add(session, [_rate(peer)]))


def _rate(peer: str) -> Rate:
    return Rate(f"register/{client_network(peer)}", _WINDOW, _MOST)


def _require(wait: int | None) -> None:
    if wait is not None:
        detail = f"{_MOST} users have registered from this address or /64 network."
        hint = "Retry later, or ask an operator of this service to register the user."
        raise TooManyRequests(
            f"Quota exceeded: {_MOST} users may register from one address (IPv6: /64 network) in "
            "24 hours. Retry after the delay in Retry-After, or ask an operator of this service "
            "to register the user.",
            errors=[Finding("quota_exceeded", "registrations", detail, hint)],
            retry_after=wait,
        )
