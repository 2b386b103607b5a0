"""Lists the certificates of all users that expire soon."""

from collections.abc import Callable
from datetime import datetime, timedelta

from ...gateways.database import BoundStatement, Database
from ...models import Certificate
from ..expiry.upcoming import expiring_fields, select_expiring
from ..pages import START, Cursor, KeysetPage, after_values, keyset_page
from .views import FleetExpiringView

# The certificates that a page covers, if it shows only some of them.
_WALK = 500


class FleetExpiring:
    """Reads pages of active certificates of all users, by expiry."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        self._page = database.prepare(
            select_expiring(Certificate.user_id), tenant=None, is_planned_anew=True
        )

    def page(
        self, within: timedelta, after: Cursor | None, limit: int, covered: bool | None = None
    ) -> KeysetPage[FleetExpiringView]:
        """Returns a page of active certificates that expire `within` that time or have expired.

        `covered`: only those that other certificates cover, or the others. Then a page may have
        fewer certificates than `limit`, or none, although others follow.
        """
        walk = limit if covered is None else max(limit, _WALK)
        statement, values = self.bound(within, after, walk)
        rows, now = statement(**values), self._now()
        page = keyset_page(rows, walk, lambda row: FleetExpiringView(*expiring_fields(row, now)))
        if covered is None:
            return page
        found = [view for view in page.items if view.covered == covered]
        if len(found) <= limit:
            return page._replace(items=found)
        last = found[limit - 1]
        return KeysetPage(found[:limit], Cursor(last.not_after, last.id))

    def bound(self, within: timedelta, after: Cursor | None, limit: int) -> BoundStatement:
        """Returns the statement that reads a page, and its parameters."""
        place = after_values(after or START)
        return self._page, {"until": self._now() + within, "limit": limit + 1, **place}
