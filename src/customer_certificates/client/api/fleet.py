"""The service's API for the certificates of all users."""

from collections.abc import Sequence
from urllib.parse import urlencode

from .responses import ExpiringOfUser, Found
from .retries import PAGE, RetryingClient


class FleetApi(RetryingClient):
    """The certificates of all users, for operators."""

    def expiring(self, days: int) -> list[ExpiringOfUser]:
        """Returns the active certificates that expire within `days`, by expiry date.

        Raises Refused, Unreachable.
        """
        return self._items(ExpiringOfUser, f"/expiring?within={days}d&limit={PAGE}")

    def find(self, conditions: Sequence[tuple[str, str]], limit: int) -> tuple[list[Found], bool]:
        """Returns the first `limit` certificates that match, and whether there are more.

        `conditions` are query parameters with their values. Raises Refused, Unreachable.
        """
        query = urlencode([*conditions, ("limit", str(min(limit + 1, PAGE)))])
        found = self._items(Found, f"/certificates?{query}", limit + 1)
        return found[:limit], len(found) > limit
