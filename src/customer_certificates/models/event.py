"""Events for webhooks and agents, recorded in the transaction of the change."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, new_id


class Event(Base):
    """An event.

    It has no foreign key: it outlives its user. `user_id` is 0 if no user's endpoint receives it.

    `id` increases in the order of a user's events. Those of different users may become visible in
    another order. A reader of all events orders them by (`xid`, `id`), up to the oldest transaction
    in progress (gateways/database/sql_functions.py). `xid` is None on SQLite, where transactions
    are serial.

    The columns after `at` record the state of the certificate at that time, if the event concerns
    one. `hostnames` is JSON. `notify` says whether the event is sent to webhooks. `traceparent` is
    the span of the request that caused the event (W3C Trace Context).
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "user_id", "id"),
        Index(None, "xid", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = new_id()
    xid: Mapped[int | None] = mapped_column(Id)
    user_id: Mapped[int] = mapped_column(Id)
    type: Mapped[str]
    at: Mapped[datetime]
    certificate_id: Mapped[int | None] = mapped_column(Id)
    version: Mapped[int | None]
    active: Mapped[bool | None]
    hostnames: Mapped[str | None]
    not_after: Mapped[datetime | None]
    fingerprint_sha256: Mapped[str | None]
    webhook_id: Mapped[int | None] = mapped_column(Id)
    notify: Mapped[bool]
    traceparent: Mapped[str | None]
