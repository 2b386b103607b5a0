"""What happened, for others to be told: written in the transaction that makes it so."""

from datetime import datetime

from sqlalchemy import Boolean, Identity, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time


class Event(Base):
    """It has no foreign key: it stays when its user has gone. `user_id` is 0 where it is about
    nobody's endpoint.

    `id` counts in the order in which a user's events happened. Those of different users may become
    visible in another order; whoever reads all of them goes by (`xid`, `id`), up to the oldest
    transaction that has not ended (gateways/database/sql_functions.py). `xid` is None on SQLite,
    where one transaction follows another.

    What follows `at` is how things stood then, as far as it is about a certificate; `hostnames` is
    JSON. `notify` says whether anybody was to be told. `traceparent` is the span of the request
    that caused the event (W3C Trace Context).
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "user_id", "id"),
        Index(None, "xid", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    xid: Mapped[int | None] = mapped_column(Id)
    user_id: Mapped[int] = mapped_column(Id)
    type: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Time)
    certificate_id: Mapped[int | None] = mapped_column(Id)
    version: Mapped[int | None] = mapped_column(Integer)
    active: Mapped[bool | None] = mapped_column(Boolean)
    hostnames: Mapped[str | None] = mapped_column(Text)
    not_after: Mapped[datetime | None] = mapped_column(Time)
    fingerprint_sha256: Mapped[str | None] = mapped_column(Text)
    webhook_id: Mapped[int | None] = mapped_column(Id)
    notify: Mapped[bool] = mapped_column(Boolean)
    traceparent: Mapped[str | None] = mapped_column(Text)
