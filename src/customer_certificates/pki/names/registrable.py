"""The domain that somebody registered, to which a hostname belongs. No I/O but the list's file."""

from functools import cache

from publicsuffixlist import PublicSuffixList

from .hostnames import address_of


def registrable_domain(hostname: str) -> str:
    """Returns the part of `hostname` (normalized) that was registered; itself if there is none, as
    of an IP address."""
    if address_of(hostname):
        return hostname
    base = hostname.removeprefix("*.")
    registered: str | None = _list().privatesuffix(base)
    return registered or base


# Reading the list takes a tenth of a second.
@cache
def _list() -> PublicSuffixList:
    return PublicSuffixList()
