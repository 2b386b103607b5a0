"""Finds the registered domain of a hostname. Its only I/O is reading the list."""

from functools import cache

from publicsuffixlist import PublicSuffixList

from .hostnames import address_of


def registrable_domain(hostname: str) -> str:
    """Returns the registered domain of `hostname` (normalized).

    Returns `hostname` itself if there is none, as for an IP address.
    """
    if address_of(hostname):
        return hostname
    base = hostname.removeprefix("*.")
    registered: str | None = _list().privatesuffix(base)
    return registered or base


# Reading the list takes a tenth of a second.
@cache
def _list() -> PublicSuffixList:
    return PublicSuffixList()
