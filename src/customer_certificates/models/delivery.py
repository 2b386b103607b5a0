"""What is to be told to an endpoint, and how that went."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, Text, literal_column, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time

# As SQL has it, and not a parameter: a plan for any parameter does not use the index of these.
PENDING = literal_column("'pending'", Text)


class Delivery(Base):
    """One event for one endpoint; `user_id` is the event's.

    Order is kept among the deliveries of one endpoint that have the same `subject`: the
    certificate's id, or minus the user's where it is about no certificate. Of those that are
    `pending`, the first has in `due` when it is to be sent next, or, while a worker has it under
    its `lease`, when others may take it. The ones behind it have None there, and so has all that is
    `delivered`, `dead` (given up), or for an endpoint that is paused.

    `attempts` is JSON: what is shown of each. `tries` counts those of the present schedule, which
    begins anew where it is to be delivered again.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(
            "ix_deliveries_webhook_id_due",
            "webhook_id",
            "due",
            postgresql_where=text("due IS NOT NULL"),
            sqlite_where=text("due IS NOT NULL"),
        ),
        Index(
            "ix_deliveries_webhook_id_event_id_dead",
            "webhook_id",
            "event_id",
            postgresql_where=text("status = 'dead'"),
            sqlite_where=text("status = 'dead'"),
        ),
        Index(
            "ix_deliveries_webhook_id_subject_event_id_pending",
            "webhook_id",
            "subject",
            "event_id",
            postgresql_where=text("status = 'pending'"),
            sqlite_where=text("status = 'pending'"),
        ),
    )

    webhook_id: Mapped[int] = mapped_column(
        Id, ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True
    )
    event_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(Id)
    subject: Mapped[int] = mapped_column(Id)
    status: Mapped[str] = mapped_column(Text, server_default="pending")
    due: Mapped[datetime | None] = mapped_column(Time)
    lease: Mapped[int | None] = mapped_column(Id)
    tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    attempts: Mapped[str] = mapped_column(Text, server_default="[]")
