"""Webhook endpoints, and the secrets that sign their deliveries."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Identity, Index, Integer, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time, partial_index


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

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    user_id: Mapped[int | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    configured: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(Time)
    failing_since: Mapped[datetime | None] = mapped_column(Time)


class WebhookSecret(Base):
    """A secret of an endpoint, wrapped by the master key `master_key_id`.

    During a rotation both secrets sign, until `ends_at` of the earlier one.
    """

    __tablename__ = "webhook_secrets"

    webhook_id: Mapped[int] = mapped_column(
        Id, ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    master_key_id: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Time)
    ends_at: Mapped[datetime | None] = mapped_column(Time)
