"""Converters for path segments: ids and hostnames."""

import re

from falcon.routing.converters import BaseConverter

from ..pki.names.hostnames import normalise
from .request_parsing import LARGEST_ID


class IdConverter(BaseConverter):
    """Converts a positive bigint without leading zeros."""

    def convert(self, value: str) -> int | None:
        """Returns the id, or None if the path cannot exist."""
        if re.fullmatch("[1-9][0-9]{0,18}", value) and int(value) <= LARGEST_ID:
            return int(value)
        return None


class HostnameConverter(BaseConverter):
    """Converts a hostname, wildcard or IP address to its normalized form."""

    def convert(self, value: str) -> str | None:
        """Returns the hostname, or None if the path cannot exist."""
        return normalise(value)
