"""Webhook deliveries and their results."""

from datetime import datetime

from sqlalchemy import Integer, Text, literal_column, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, child_of, partial_index

# A literal, not a parameter: a generic plan would not use the partial index.
PENDING = literal_column("'pending'", Text)


class Delivery(Base):
    """The delivery of one event to one endpoint.

    `user_id` is the event's. Deliveries of one endpoint with the same `ordering_key` are sent in
    order. The key is the certificate's ID, or minus the user's for an event about no certificate.
    Of the `pending` ones, `next_attempt_at` of the first is set. While a worker has it under its
    `lease`, that is when others may claim it. It is None for the later ones, and for
    deliveries that are `delivered`, `dead` (no more retries), or whose endpoint is paused.

    `attempts` is JSON: the attempts as the API shows them. `attempt_count` counts those of the
    current schedule, which restarts if the delivery is repeated.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        partial_index(
            "ix_deliveries_webhook_id_next_attempt_at",
            "webhook_id",
            "next_attempt_at",
            where="next_attempt_at IS NOT NULL",
        ),
        partial_index(
            "ix_deliveries_webhook_id_event_id_dead",
            "webhook_id",
            "event_id",
            where="status = 'dead'",
        ),
        partial_index(
            "ix_deliveries_webhook_id_ordering_key_event_id_pending",
            "webhook_id",
            "ordering_key",
            "event_id",
            where="status = 'pending'",
        ),
    )

    webhook_id: Mapped[int] = child_of("webhooks.id", primary_key=True)
    event_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(Id)
    ordering_key: Mapped[int] = mapped_column(Id)
    status: Mapped[str] = mapped_column(Text, server_default="pending")
    next_attempt_at: Mapped[datetime | None]
    lease: Mapped[int | None] = mapped_column(Id)
    attempt_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    attempts: Mapped[str] = mapped_column(Text, server_default="[]")
