"""Counts by which the service limits how often something happens."""

from datetime import datetime

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base


class RateCount(Base):
    """How many times `name` was counted in a time window that ends at `ends_at`.

    A count outlives the user who caused it: deleting and registering again does not reset it.
    """

    __tablename__ = "rate_counts"
    __table_args__ = (Index(None, "ends_at"),)

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int]
    ends_at: Mapped[datetime]
