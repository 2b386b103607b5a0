"""Encrypted private keys, in a table that no list or certificate view reads."""

from sqlalchemy import Integer
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, child_of


class PrivateKey(Base):
    """The key of one version of a certificate, as docs/explanation/sealed-keys.md describes it."""

    __tablename__ = "private_keys"

    certificate_id: Mapped[int] = child_of("certificates.id", primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    sealed: Mapped[bytes]
