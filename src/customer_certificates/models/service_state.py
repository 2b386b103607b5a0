"""State of the service itself."""

from datetime import datetime

from sqlalchemy import DDL, Text, event
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base


class ServiceState(Base):
    """A fact since `since`, for example the last start of a job."""

    __tablename__ = "service_state"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[datetime]


class ServiceLatch(Base):
    """A permanent fact since `since`: `served_with_credentials`.

    On PostgreSQL the role of the service may only add rows and read them. On SQLite, which has no
    roles, triggers reject updates and deletions.
    """

    __tablename__ = "service_latches"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[datetime]


class ServiceSecret(Base):
    """A secret that the migration created, and that the service only reads."""

    __tablename__ = "service_secrets"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[bytes]


for _name, _event in (("deleted", "DELETE"), ("updated", "UPDATE")):
    event.listen(
        ServiceLatch.__table__,
        "after_create",
        DDL(
            f"CREATE TRIGGER service_latches_{_name} BEFORE {_event} ON service_latches BEGIN "
            "SELECT RAISE(ABORT, 'A latch stays as it is.'); END"
        ).execute_if(dialect="sqlite"),
    )
