"""Counts the deliveries of all webhooks that wait or were given up."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import case, func, literal_column, or_, select

from ...gateways.database import Database, int_param
from ...gateways.database.sql_functions import count_up_to
from ...models import PENDING, Delivery, Webhook

# Row-level security reads the row of each one.
MOST_COUNTED = 100_000
_DEAD = literal_column("'dead'")
_PENDING, _GIVEN_UP = Delivery.status == PENDING, Delivery.status == _DEAD


class WebhookBacklog(NamedTuple):
    """The deliveries of a webhook. `user_id` is its owner; None: operators."""

    webhook_id: int
    user_id: int | None
    url: str
    state: str
    reason: str | None
    failing_since: datetime | None
    pending: int
    dead: int


class Backlogs:
    """Reads the backlogs of all webhooks, from the indexes of unfinished deliveries.

    The totals stop at `most`.
    """

    def __init__(self, database: Database, *, most: int = MOST_COUNTED) -> None:
        self._largest = database.prepare(_largest(), tenant=None)
        self._total = database.prepare(_total(most), tenant=None)

    def total(self) -> tuple[int, int]:
        """Returns the numbers of deliveries that wait, and that were given up."""
        ((pending, dead),) = self._total()
        return pending, dead

    def largest(self, limit: int) -> list[WebhookBacklog]:
        """Returns the webhooks with the most deliveries that wait or were given up."""
        return [WebhookBacklog(*row) for row in self._largest(limit=limit)]


def _total(most: int) -> Any:
    return select(count_up_to(most, _PENDING), count_up_to(most, _GIVEN_UP))


def _largest() -> Any:
    def number(condition: Any) -> Any:
        return func.count(case((condition, 1)))

    counted = (
        select(
            Delivery.webhook_id, number(_PENDING).label("pending"), number(_GIVEN_UP).label("dead")
        )
        .where(or_(_PENDING, _GIVEN_UP))
        .group_by(Delivery.webhook_id)
        .subquery()
    )
    columns = (Webhook.id, Webhook.user_id, Webhook.url, Webhook.state, Webhook.reason)
    return (
        select(*columns, Webhook.failing_since, counted.c.pending, counted.c.dead)
        .join(counted, counted.c.webhook_id == Webhook.id)
        .order_by((counted.c.pending + counted.c.dead).desc(), Webhook.id)
        .limit(int_param("limit"))
    )
