"""Which hostnames certificates are for, and whose the hostnames are."""

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id


class CertificateHostname(Base):
    """A certificate, active or not, is for this hostname; by it the certificate is found."""

    __tablename__ = "certificate_hostnames"
    __table_args__ = (Index(None, "certificate_id"), Index(None, "hostname"))

    user_id: Mapped[int] = mapped_column(
        Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    hostname: Mapped[str] = mapped_column(Text, primary_key=True)
    certificate_id: Mapped[int] = mapped_column(
        Id, ForeignKey("certificates.id", ondelete="CASCADE"), primary_key=True
    )


class HostnameClaim(Base):
    """A user's active certificates serve this hostname, so no other user's can."""

    __tablename__ = "hostname_claims"
    __table_args__ = (Index(None, "user_id"),)

    hostname: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
