"""The one external system of a small installation: CC_NOTIFY_URL as an endpoint like any other."""

from datetime import datetime

from sqlalchemy import select

from ..gateways.database import EVERYBODY, Database
from ..models import Webhook


def configure_webhook(database: Database, url: str | None, now: datetime) -> None:
    """Has an endpoint of operators' be there for `url`, or none. Where it was another, what that
    one was still to be told is told to this one. Raises Unavailable."""
    with database.begin(EVERYBODY) as session:
        found = session.scalars(
            select(Webhook).where(Webhook.configured).order_by(Webhook.id).with_for_update()
        ).first()
        if url is None:
            if found:
                session.delete(found)
        elif found is None:
            session.add(
                Webhook(
                    user_id=None,
                    url=url,
                    events='["*"]',
                    description="CC_NOTIFY_URL",
                    state="active",
                    configured=True,
                    created_at=now,
                )
            )
        elif found.url != url:
            found.url = url
