"""Lists the certificates of all users that expire soon."""

from collections.abc import Callable
from datetime import datetime, timedelta

from ...gateways.database import BoundStatement, Database
from ...models import Certificate
from ..expiry.upcoming import expiring_fields, select_expiring
from ..pages import START, Cursor, KeysetPage, after_values, keyset_page
from .views import FleetExpiringView


class FleetExpiring:
    """Reads pages of active certificates of all users, by expiry."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        self._page = database.prepare(
            select_expiring(Certificate.user_id), tenant=None, is_planned_anew=True
        )

    def page(
        self, within: timedelta, after: Cursor | None, limit: int
    ) -> KeysetPage[FleetExpiringView]:
        """Returns a page of active certificates that expire `within` that time or have expired."""
        statement, values = self.bound(within, after, limit)
        rows, now = statement(**values), self._now()
        return keyset_page(rows, limit, lambda row: FleetExpiringView(*expiring_fields(row, now)))

    def bound(self, within: timedelta, after: Cursor | None, limit: int) -> BoundStatement:
        """Returns the statement that reads a page, and its parameters."""
        place = after_values(after or START)
        return self._page, {"until": self._now() + within, "limit": limit + 1, **place}
