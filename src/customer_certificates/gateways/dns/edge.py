"""Checks whether a name resolves to the edge, which serves customers' certificates."""

import ipaddress
from collections.abc import Sequence
from threading import Lock
from time import monotonic

from ..outbound_http.deadline import Deadline
from ..outbound_http.url import Address
from .lookups import Dns

_CACHE_SECONDS = 300.0


class Edge:
    """`targets` are the names and IP addresses of the edge."""

    def __init__(self, dns: Dns, targets: Sequence[str]) -> None:
        self._dns = dns
        self._names: set[str] = set()
        self._addresses: set[Address] = set()
        for target in targets:
            try:
                self._addresses.add(ipaddress.ip_address(target))
            except ValueError:
                self._names.add(target)
        self._lock = Lock()
        self._resolved: frozenset[Address] = frozenset()
        self._resolved_at: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether edge targets are configured."""
        return bool(self._names or self._addresses)

    def has(self, names: frozenset[str], addresses: frozenset[Address], deadline: Deadline) -> bool:
        """Whether one of the names or addresses belongs to the edge. Raises LookupFailed."""
        if self._names & names or self._addresses & addresses:
            return True
        return bool(self._names and self._addresses_of_names(deadline) & addresses)

    def _addresses_of_names(self, deadline: Deadline) -> frozenset[Address]:
        """Returns the addresses of the edge's names, cached for five minutes."""
        with self._lock:
            at = self._resolved_at
            if at is not None and at > monotonic() - _CACHE_SECONDS:
                return self._resolved
        resolved = frozenset[Address]().union(
            *(self._dns.addresses(name, deadline).from_any for name in sorted(self._names))
        )
        with self._lock:
            self._resolved, self._resolved_at = resolved, monotonic()
        return resolved
