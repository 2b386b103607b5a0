"""What the database remembers of the service itself."""

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Time


class ServiceState(Base):
    """Something that is so from `since` on: `served_with_credentials`."""

    __tablename__ = "service_state"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[datetime] = mapped_column(Time)
