"""Releases deliveries that nobody unblocked, though nothing is before them."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select

from ...gateways.database import EVERYBODY, Database
from ...models import Delivery, Webhook
from .queue import unblocked


class StuckDeliveries:
    """Releases stuck deliveries.

    An event that is recorded while its endpoint is resumed may still see it paused. Instead of
    locking the endpoint in both transactions, a search runs every minute.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        active = select(Webhook.id).where(Webhook.state == "active")
        self._release = database.prepare(
            unblocked(Delivery.webhook_id.in_(active)).returning(Delivery.event_id)
        )

    def release(self) -> int:
        """Releases stuck deliveries, and returns their number. Raises Unavailable."""
        (released,) = self._database.run_pipeline(EVERYBODY, (self._release, {"next": self._now()}))
        return len(released)
