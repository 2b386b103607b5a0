"""Intermediate certificates from uploads, which may complete other chains."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from .base import Base, child_of, new_id, partial_index


class Intermediate(Base):
    """An intermediate certificate.

    `user_id` is None if its chain leads to a public root. A private CA's certificate completes only
    the chains of the user who uploaded it. `subject_hash` is OpenSSL's hash of the subject: equal
    names (RFC 5280, 7.1) have one hash.
    """

    __tablename__ = "intermediates"
    __table_args__ = (
        partial_index(
            "uq_intermediates_fingerprint_sha256",
            "fingerprint_sha256",
            where="user_id IS NULL",
            unique=True,
        ),
        partial_index(
            "uq_intermediates_user_id_fingerprint_sha256",
            "user_id",
            "fingerprint_sha256",
            where="user_id IS NOT NULL",
            unique=True,
        ),
        Index(None, "subject_hash"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = new_id()
    user_id: Mapped[int | None] = child_of("users.id")
    subject_hash: Mapped[str]
    fingerprint_sha256: Mapped[str]
    der: Mapped[bytes]
