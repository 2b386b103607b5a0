"""The data keys that encrypt users' private keys."""

from datetime import datetime

from sqlalchemy import Integer
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, child_of


class UserDataKey(Base):
    """A user's data key, wrapped by the master key `master_key_id`. It is deleted with its user."""

    __tablename__ = "user_keys"

    user_id: Mapped[int] = child_of("users.id", primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    wrapped: Mapped[bytes]
    master_key_id: Mapped[str]
    created_at: Mapped[datetime]
