"""What the database remembers of the service itself."""

from datetime import datetime

from sqlalchemy import DDL, LargeBinary, Text, event
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Time


class ServiceState(Base):
    """Something that is so from `since` on: when a job was begun last, for example."""

    __tablename__ = "service_state"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[datetime] = mapped_column(Time)


class ServiceLatch(Base):
    """Something that stays so from `since` on: `served_with_credentials`.

    On PostgreSQL the role of the service may add rows and read them, nothing else. On SQLite, which
    has no roles, triggers reject updates and deletions.
    """

    __tablename__ = "service_latches"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[datetime] = mapped_column(Time)


class ServiceSecret(Base):
    """A secret that the migration made, and that the service only reads."""

    __tablename__ = "service_secrets"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)


for _name, _event in (("deleted", "DELETE"), ("updated", "UPDATE")):
    event.listen(
        ServiceLatch.__table__,
        "after_create",
        DDL(
            f"CREATE TRIGGER service_latches_{_name} BEFORE {_event} ON service_latches BEGIN "
            "SELECT RAISE(ABORT, 'A latch stays as it is.'); END"
        ).execute_if(dialect="sqlite"),
    )
