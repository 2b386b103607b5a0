"""How many users each client network has registered lately, where anybody may register."""

from datetime import datetime

from sqlalchemy import Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Time


class Registration(Base):
    """`number` users were registered from `network` in the 24 hours from `since` on.

    `network` is an IPv4 address, or the /64 network of an IPv6 address.
    """

    __tablename__ = "registrations"
    __table_args__ = (Index(None, "since"),)

    network: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[datetime] = mapped_column(Time)
    number: Mapped[int] = mapped_column(Integer)
