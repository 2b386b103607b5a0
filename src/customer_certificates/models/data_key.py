"""The data keys that encrypt users' private keys."""

from datetime import datetime

from sqlalchemy import Integer, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Time, child_of


class UserDataKey(Base):
    """A user's data key, wrapped by the master key `master_key_id`. It is deleted with its user."""

    __tablename__ = "user_keys"

    user_id: Mapped[int] = child_of("users.id", primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    master_key_id: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Time)
