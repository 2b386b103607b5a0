"""Manages the endpoint of CC_WEBHOOK_URL, the single external system of a small installation."""

from datetime import datetime

from sqlalchemy import select

from ...gateways.database import EVERYBODY, Database
from ...gateways.database.sql_functions import insert_new
from ...models import Webhook

_NOT_SET = "CC_WEBHOOK_URL is not set."


def configure_webhook(database: Database, url: str | None, now: datetime) -> None:
    """Creates or updates the operators' endpoint for `url`.

    If the URL changed, pending deliveries go to the new one. Without a URL, the endpoint is
    disabled, but its pending deliveries are kept: another worker may have the setting. Raises
    Unavailable.
    """
    with database.begin(EVERYBODY) as session:
        if url is not None:
            # If several workers start at once, one of them creates it.
            values = {
                "user_id": None,
                "url": url,
                "events": '["*"]',
                "description": "CC_WEBHOOK_URL",
                "state": "active",
                "configured": True,
                "created_at": now,
            }
            session.execute(insert_new(Webhook).values(values))
        webhook = session.scalars(
            select(Webhook).where(Webhook.configured).with_for_update(key_share=True)
        ).first()
        if webhook is None:
            return
        if url is None:
            if webhook.state != "disabled":
                webhook.state, webhook.reason = "disabled", _NOT_SET
        elif webhook.url != url or webhook.reason == _NOT_SET:
            webhook.url, webhook.state = url, "active"
            webhook.reason = webhook.failing_since = None
