"""Lists events, and deletes old ones."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, literal, or_, select

from ...errors import user_not_found
from ...gateways.database import EVERYBODY, Database, int_param
from ...gateways.database.prepared import Row
from ...models import Delivery, Event, User, Webhook
from ..pages import Page, page_of
from .log import HOSTNAMES_CHANGED
from .views import SHOWN, EventView, event_view

KEPT_FOR = timedelta(days=90)
_REMOVED_AT_ONCE = 1000


class EventPages:
    """Reads a user's events, and deletes expired ones."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        user_id = int_param("user_id")
        shown = (
            select(*(getattr(Event, name) for name in SHOWN))
            .where(Event.user_id == user_id, Event.type != HOSTNAMES_CHANGED)
            .limit(int_param("limit"))
        )
        self._page = database.prepare(shown.where(Event.id > bindparam("after")).order_by(Event.id))
        self._newest = database.prepare(
            shown.where(Event.id < bindparam("before")).order_by(Event.id.desc())
        )
        self._is_known = database.prepare(
            select(literal(True)).where(
                or_(
                    select(Event.id).where(Event.user_id == user_id).exists(),
                    select(User.id).where(User.id == user_id).exists(),
                )
            )
        )
        # Ids follow the time closely enough, so there is no index by time.
        oldest = select(Event.id, Event.at).order_by(Event.id).limit(_REMOVED_AT_ONCE).subquery()
        self._last_old = database.prepare(
            select(func.max(oldest.c.id)).where(oldest.c.at < bindparam("end")), tenant=None
        )
        last = int_param("last")
        self._remove_deliveries = database.prepare(
            delete(Delivery).where(
                # Explicit, so that the index is used.
                Delivery.webhook_id.in_(select(Webhook.id)),
                Delivery.event_id <= last,
            )
        )
        self._remove = database.prepare(delete(Event).where(Event.id <= last).returning(Event.id))

    def page(self, user_id: int, after: int, limit: int) -> Page[EventView]:
        """Returns a page of events by id.

        Events remain after their user is deleted. Raises NotFound if there is neither such a user
        nor an event of it.
        """
        rows = self._page(user_id=user_id, after=after, limit=limit + 1)
        return self._shown(user_id, rows, limit)

    def newest(self, user_id: int, before: int, limit: int) -> Page[EventView]:
        """Returns a page of events with smaller ids than `before`, newest first.

        Its `next_after` is the `before` of the next page. Raises NotFound, as `page` does.
        """
        rows = self._newest(user_id=user_id, before=before, limit=limit + 1)
        return self._shown(user_id, rows, limit)

    def _shown(self, user_id: int, rows: Sequence[Row], limit: int) -> Page[EventView]:
        if not rows and not self._is_known(user_id=user_id):
            raise user_not_found(user_id)
        return page_of(rows, limit, event_view)

    def purge(self) -> int:
        """Deletes events older than 90 days, with deliveries, and returns their number."""
        number = 0
        while True:
            ((last,),) = self._last_old(end=self._now() - KEPT_FOR)
            if last is None:
                return number
            _, removed = self._database.run_pipeline(
                EVERYBODY, (self._remove_deliveries, {"last": last}), (self._remove, {"last": last})
            )
            number += len(removed)
