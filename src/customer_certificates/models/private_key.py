"""Private keys, sealed, apart from what is shown: no list and no certificate reads this table."""

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


class PlaintextKey(Base):
    """A key as revision 0002 stored it. `customer-certificates migrate` seals them all, and the
    service does not start while there is one: the migration itself has no master key."""

    __tablename__ = "unsealed_keys"

    certificate_id: Mapped[int] = mapped_column(
        Id, ForeignKey("certificates.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    private_key: Mapped[bytes] = mapped_column(LargeBinary, deferred=True, deferred_raiseload=True)
