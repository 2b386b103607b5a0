"""Parts of paths: ids and hostnames."""

import re

from falcon.routing.converters import BaseConverter

from ..pki.names.hostnames import normalise
from .request_parsing import LARGEST_ID


class IdConverter(BaseConverter):
    """A positive integer that a database's bigint holds, written in one way only."""

    def convert(self, value: str) -> int | None:
        """The id, or None: there is nothing at such a path."""
        if re.fullmatch("[1-9][0-9]{0,18}", value) and int(value) <= LARGEST_ID:
            return int(value)
        return None


class HostnameConverter(BaseConverter):
    """A hostname, a wildcard or an IP address, normalized."""

    def convert(self, value: str) -> str | None:
        """Returns the hostname, or None: there is nothing at such a path."""
        return normalise(value)
