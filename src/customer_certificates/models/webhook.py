"""Webhook endpoints, and the secrets that sign their deliveries."""

from datetime import datetime

from sqlalchemy import Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, child_of, new_id, partial_index


class Webhook(Base):
    """A webhook endpoint.

    `user_id` is None if it receives events of all users. `events` is a JSON array of types, or
    `["*"]`. `state` is `active`, `paused` (events are kept for it) or `disabled` (events are not
    kept; `reason` says why). `configured`: it comes from CC_WEBHOOK_URL, and its secret is not
    stored here. `failing_since` is the time of the first failure since the last success.
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        Index(None, "user_id", "id"),
        partial_index(
            "uq_webhooks_configured",
            "configured",
            where="configured",
            sqlite_where="configured = 1",
            unique=True,
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = new_id()
    user_id: Mapped[int | None] = child_of("users.id")
    url: Mapped[str]
    events: Mapped[str]
    description: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str | None]
    configured: Mapped[bool]
    created_at: Mapped[datetime]
    failing_since: Mapped[datetime | None]


class WebhookSecret(Base):
    """A secret of an endpoint, wrapped by the master key `master_key_id`.

    During a rotation both secrets sign, until `ends_at` of the earlier one.
    """

    __tablename__ = "webhook_secrets"

    webhook_id: Mapped[int] = child_of("webhooks.id", primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    wrapped: Mapped[bytes]
    master_key_id: Mapped[str]
    created_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
