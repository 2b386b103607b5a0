"""Encrypted private keys, in a table that no list or certificate view reads."""

from sqlalchemy import ForeignKey, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id


class PrivateKey(Base):
    """The key of one version of a certificate, as docs/explanation/sealed-keys.md describes it."""

    __tablename__ = "private_keys"

    certificate_id: Mapped[int] = mapped_column(
        Id, ForeignKey("certificates.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
