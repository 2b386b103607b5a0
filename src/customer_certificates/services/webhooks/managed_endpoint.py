"""The one external system of a small installation: CC_WEBHOOK_URL as an endpoint like any other."""

from datetime import datetime

from sqlalchemy import select

from ...gateways.database import EVERYBODY, Database
from ...gateways.database.sql_functions import insert_new
from ...models import Webhook

_NOT_SET = "CC_WEBHOOK_URL is not set."


def configure_webhook(database: Database, url: str | None, now: datetime) -> None:
    """Has an endpoint of operators' be there for `url`. Where it was another, what that one was
    still to be told is told to this one; where there is none, it is disabled, and what waits for it
    stays: another worker may know better. Raises Unavailable."""
    with database.begin(EVERYBODY) as session:
        if url is not None:
            # Of several workers that start at once one makes it.
            made = {
                "user_id": None,
                "url": url,
                "events": '["*"]',
                "description": "CC_WEBHOOK_URL",
                "state": "active",
                "configured": True,
                "created_at": now,
            }
            session.execute(insert_new(Webhook).values(made))
        found = session.scalars(
            select(Webhook).where(Webhook.configured).with_for_update(key_share=True)
        ).first()
        if found is None:
            return
        if url is None:
            if found.state != "disabled":
                found.state, found.reason = "disabled", _NOT_SET
        elif found.url != url or found.reason == _NOT_SET:
            found.url, found.state, found.reason, found.failing_since = url, "active", None, None
