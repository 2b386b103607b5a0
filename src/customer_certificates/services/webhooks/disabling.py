"""Disables endpoints that are gone, or have failed for too long."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, bindparam, null, or_, select, update

from ...gateways.database import EVERYBODY, Database
from ...models import PENDING, Delivery, User, Webhook
from ..audit.hash_chain import NOBODY
from ..audit.log import Audit
from ..events.log import Events
from ..principal import Principal
from .queue import Endpoint

_WORKER = Principal("command", "worker", "")


class Disabling:
    """Turns an endpoint's pending deliveries into dead letters, and notifies other endpoints."""

    def __init__(
        self, database: Database, audit: Audit, events: Events, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._audit = audit
        self._events = events
        self._now = now
        webhook_id: Any = bindparam("of_webhook")
        before: Any = bindparam("before", type_=DateTime(timezone=True))
        self._disable = database.prepare(
            update(Webhook)
            .where(
                Webhook.id == webhook_id,
                Webhook.state != "disabled",
                # The worker's observation may be outdated: the endpoint may have a new URL, or work
                # again.
                Webhook.url == bindparam("of_url"),
                or_(before.is_(None), Webhook.failing_since <= before),
            )
            .values(state="disabled", reason=bindparam("why"))
            .returning(Webhook.id)
        )
        self._give_up = database.prepare(
            update(Delivery)
            .where(Delivery.webhook_id == webhook_id, Delivery.status == PENDING)
            .values(status="dead", due=null(), lease=null())
        )

    def disable(
        self, endpoint: Endpoint, reason: str, failing_before: datetime | None = None
    ) -> None:
        """Disables the endpoint.

        Does nothing if it is already disabled, deleted, or has another URL now; nor if it has not
        been failing since `failing_before`, if given. Raises Unavailable.
        """
        user_id = endpoint.user_id
        with self._database.begin(EVERYBODY) as session:
            if user_id is not None:
                session.execute(select(User.id).where(User.id == user_id).with_for_update())
            if not session.run(
                self._disable,
                of_webhook=endpoint.id,
                of_url=endpoint.url,
                before=failing_before,
                why=reason,
            ):
                return
            session.run(self._give_up, of_webhook=endpoint.id)
            path = webhook_path(user_id, endpoint.id)
            owner = user_id or NOBODY
            # No user's lock orders these transactions, so the audit chain is locked before the
            # event is recorded.
            event = self._events.calls("webhook.disabled", owner, webhook_id=endpoint.id)
            detail = {"reason": reason}
            self._audit.record(
                session, _WORKER, "webhook.disable", owner, path, detail=detail, also=event
            )


def webhook_path(user_id: int | None, webhook_id: int | None) -> str:
    """Returns the path of the webhook in the API; without an id, that of all webhooks."""
    path = "/webhooks" if user_id is None else f"/users/{user_id}/webhooks"
    return path if webhook_id is None else f"{path}/{webhook_id}"
