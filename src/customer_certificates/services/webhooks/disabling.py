"""Disables endpoints that are gone, or have failed for too long."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import update

from ...gateways.database import EVERYBODY, Database
from ...models import PENDING, Delivery, User, Webhook
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit
from ..events.log import Events
from ..principal import WORKER
from .queue import Endpoint


@dataclass(frozen=True, slots=True)
class Disabling:
    """Turns an endpoint's pending deliveries into dead letters, and notifies other endpoints."""

    database: Database
    audit: Audit
    events: Events

    def disable(
        self, endpoint: Endpoint, reason: str, failing_before: datetime | None = None
    ) -> None:
        """Disables the endpoint.

        Does nothing if it is already disabled, deleted, or has another URL now; nor if it has not
        been failing since `failing_before`, if given. Raises Unavailable.
        """
        owner = endpoint.user_id or NOBODY
        with self.database.begin(EVERYBODY) as session:
            if endpoint.user_id is not None:
                session.get(User, endpoint.user_id, with_for_update=True)
            if not session.execute(_disabled(endpoint, reason, failing_before)).all():
                return
            session.execute(
                update(Delivery)
                .where(Delivery.webhook_id == endpoint.id, Delivery.status == PENDING)
                .values(status="dead", next_attempt_at=None, lease=None)
            )
            # No user's lock orders these transactions, so the audit chain is locked before the
            # event is recorded.
            self.audit.record(
                session,
                WORKER,
                "webhook.disable",
                owner,
                webhook_path(endpoint.user_id, endpoint.id),
                detail={"reason": reason},
                also=self.events.calls("webhook.disabled", owner, webhook_id=endpoint.id),
            )


def _disabled(endpoint: Endpoint, reason: str, failing_before: datetime | None) -> Any:
    # The worker's observation may be outdated: the endpoint may have a new URL, or work again.
    conditions = [Webhook.id == endpoint.id, Webhook.url == endpoint.url]
    if failing_before is not None:
        conditions.append(Webhook.failing_since <= failing_before)
    return (
        update(Webhook)
        .where(*conditions, Webhook.state != "disabled")
        .values(state="disabled", reason=reason)
        .returning(Webhook.id)
    )


def webhook_path(user_id: int | None, webhook_id: int | None) -> str:
    """Returns the path of the webhook in the API; without an id, that of all webhooks."""
    path = "/webhooks" if user_id is None else f"/users/{user_id}/webhooks"
    return path if webhook_id is None else f"{path}/{webhook_id}"
