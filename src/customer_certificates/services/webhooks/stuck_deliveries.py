"""Releases deliveries that nobody unblocked, though nothing is before them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, update

from ...gateways.database import EVERYBODY, Database
from ...models import PENDING, Delivery, Webhook
from .queue import first_pending


class StuckDeliveries:
    """Releases stuck deliveries.

    An event that is recorded while its endpoint is resumed may still see it paused. Instead of
    locking the endpoint in both transactions, a search runs every minute.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        next_at: Any = bindparam("next")
        self._wake = database.prepare(
            update(Delivery)
            .where(
                Delivery.status == PENDING,
                Delivery.due.is_(None),
                Delivery.webhook_id.in_(select(Webhook.id).where(Webhook.state == "active")),
                Delivery.event_id == first_pending(Delivery.webhook_id, Delivery.subject),
            )
            .values({Delivery.due: next_at})
            .returning(Delivery.event_id)
        )

    def wake(self) -> int:
        """Releases stuck deliveries, and returns their number. Raises Unavailable."""
        (woken,) = self._database.run_pipeline(EVERYBODY, (self._wake, {"next": self._now()}))
        return len(woken)
