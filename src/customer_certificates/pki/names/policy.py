"""Hostnames that cannot be claimed, or that an operator must grant. No I/O."""

from collections.abc import Sequence
from functools import cache
from typing import Literal

from publicsuffixlist import PublicSuffixList

from .hostnames import address_of, wildcard_of
from .registrable import public_suffixes

# forbidden: no user can claim it. reserved: an operator must grant it.
Restriction = Literal["forbidden", "reserved"]

# RFC 6761, 6762, 7686, 8375, 9476 and ICANN's `internal`. `example` and `test` are left out: they
# resolve nowhere, and documentation and tests use them.
_SPECIAL_USE = frozenset({"localhost", "local", "invalid", "onion", "internal", "alt", "arpa"})


class NamePolicy:
    """Says which names are restricted."""

    def __init__(self, reserved: Sequence[str] = (), edge: Sequence[str] = ()) -> None:
        """Takes the restricted names, all normalized.

        `reserved` are addresses, or names that are reserved with all their subdomains. `edge` are
        the names and addresses of the servers that terminate TLS.
        """
        self._addresses = frozenset(name for name in (*reserved, *edge) if address_of(name))
        names = {*reserved, *edge} - self._addresses
        self._subtrees = frozenset(name.removeprefix("*.") for name in names)
        # A wildcard that covers a reserved name would serve it.
        self._covering = frozenset(wildcard_of(name) for name in self._subtrees)

    def restriction(self, hostname: str) -> Restriction | None:
        """Returns the restriction of `hostname` (normalized); None if there is none."""
        if address_of(hostname):
            return "reserved" if hostname in self._addresses else None
        base = hostname.removeprefix("*.")
        if base != hostname:
            if _icann().is_public(base):
                return "forbidden"
            if public_suffixes().is_public(base) or hostname in self._covering:
                return "reserved"
        labels = base.split(".")
        if len(labels) == 1 or labels[-1] in _SPECIAL_USE:
            return "reserved"
        above = (".".join(labels[start:]) for start in range(len(labels)))
        return "reserved" if not self._subtrees.isdisjoint(above) else None


# Reading the list takes a tenth of a second, and only wildcards need it.
@cache
def _icann() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)
