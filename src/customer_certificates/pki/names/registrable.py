"""The public suffix list, and the registered domain of a hostname."""

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
    registered: str | None = public_suffixes().privatesuffix(base)
    return registered or base


@cache
def public_suffixes() -> PublicSuffixList:
    """Returns the whole list. Reading it takes a tenth of a second, once."""
    return PublicSuffixList()
