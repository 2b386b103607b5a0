"""Certificates that users upload, and their earlier versions."""

from datetime import datetime

from sqlalchemy import (
    Boolean,
    ColumnElement,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    case,
    literal,
    text,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from .base import LONG_AGO, Base, Id, Time
from .pem_text import PemText

# `Content.served_pem` if `body` is served unchanged: it is not stored twice.
AS_BODY = ""


def served_text(body: str, served_pem: str | None) -> str | None:
    """Returns the certificates that terminators serve, in PEM, from the stored columns."""
    return body if served_pem == AS_BODY else served_pem


class Content:
    """The content of one version of a certificate.

    `body` and `chain` are the uploaded certificates in PEM, or the uploaded texts if a part of them
    could not be read. `served_pem` is what terminators serve: usually AS_BODY, which stands for
    `body`, and None if nothing could be read. `chain_pem` returns it. `findings` and `hostnames`
    are JSON. `updated_at` is None for the first version. The private key is in a separate table.

    The certificate can be served from `serve_not_before` to `serve_not_after`: then all of
    `chain_pem` is valid. None: unknown, so the certificate's own dates apply. `not_servable` is the
    code of the reason why no server can load certificate and key (None: servers can).
    `proves_hostnames`: a public CA issued it for servers, so with its key it proves control of its
    hostnames (None: unknown).
    """

    body: Mapped[str] = mapped_column(PemText)
    chain: Mapped[str | None] = mapped_column(PemText)
    served_pem: Mapped[str | None] = mapped_column(PemText)
    trust: Mapped[str] = mapped_column(Text, server_default="unreadable")
    findings: Mapped[str] = mapped_column(Text, server_default="[]")
    subject: Mapped[str | None] = mapped_column(Text)
    issuer: Mapped[str | None] = mapped_column(Text)
    serial: Mapped[str | None] = mapped_column(Text)
    hostnames: Mapped[str] = mapped_column(Text, server_default="[]")
    not_before: Mapped[datetime | None] = mapped_column(Time)
    not_after: Mapped[datetime | None] = mapped_column(Time)
    fingerprint_sha256: Mapped[str | None] = mapped_column(Text)
    spki_sha256: Mapped[str | None] = mapped_column(Text)
    key_algorithm: Mapped[str | None] = mapped_column(Text)
    signature_algorithm: Mapped[str | None] = mapped_column(Text)
    updated_at: Mapped[datetime | None] = mapped_column(Time)
    serve_not_before: Mapped[datetime | None] = mapped_column(Time)
    serve_not_after: Mapped[datetime | None] = mapped_column(Time)
    not_servable: Mapped[str | None] = mapped_column(Text)
    proves_hostnames: Mapped[bool | None] = mapped_column(Boolean)

    @hybrid_property
    def chain_pem(self) -> str | None:
        """Returns the certificates that terminators serve, in PEM."""
        return served_text(self.body, self.served_pem)

    @chain_pem.inplace.expression
    @classmethod
    def _chain_pem(cls) -> ColumnElement[str | None]:
        return case((cls.served_pem == literal(AS_BODY, PemText), cls.body), else_=cls.served_pem)


CONTENT = tuple(Content.__annotations__)


class Certificate(Content, Base):
    """A certificate; `version` is the number of its current version.

    At `expiry_due` the worker checks whether to notify its owner that it expires (None: never, as
    long as nothing changes).

    At `activate_at` the worker makes a cutover (services/certificates/versions/cutovers.py). If
    there is a CertificateVersion with the number `version` + 1, the cutover activates it. Otherwise
    the certificate becomes active. None: no cutover is scheduled. `pending` is what the API shows
    of it (JSON, views.PendingView).
    """

    __tablename__ = "certificates"

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    active: Mapped[bool] = mapped_column(Boolean)
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(Time)
    expiry_due: Mapped[datetime | None] = mapped_column(Time, server_default=LONG_AGO)
    activate_at: Mapped[datetime | None] = mapped_column(Time)
    pending: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index(None, "user_id", "id"),
        # After years of renewals, a customer has few active certificates among many old ones.
        Index(
            "ix_certificates_user_id_id_active",
            "user_id",
            "id",
            postgresql_where=text("active"),
            sqlite_where=text("active = 1"),
        ),
        Index("ix_certificates_user_id_fingerprint_sha256", "user_id", "fingerprint_sha256"),
        Index("ix_certificates_user_id_not_after", "user_id", "not_after"),
        Index("ix_certificates_user_id_trust", "user_id", "trust", "id"),
        Index(
            "ix_certificates_expiry_due",
            "expiry_due",
            "id",
            postgresql_where=text("expiry_due IS NOT NULL"),
            sqlite_where=text("expiry_due IS NOT NULL"),
        ),
        Index(
            "ix_certificates_activate_at",
            "activate_at",
            "id",
            postgresql_where=text("activate_at IS NOT NULL"),
            sqlite_where=text("activate_at IS NOT NULL"),
        ),
        # Certificates are stored inline (a page holds one or two rows): lists read 41 % faster.
        {"sqlite_autoincrement": True, "postgresql_with": {"toast_tuple_target": 8160}},
    )

    def watch_expiry(self, now: datetime) -> None:
        """Schedules an expiry check.

        Call this if the content or the active state has changed.
        """
        self.expiry_due = now if self.active else None


class CertificateVersion(Content, Base):
    """An earlier version of a certificate, or a pending one.

    A pending version waits for its cutover, and has the next number.
    """

    __tablename__ = "certificate_versions"

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    certificate_id: Mapped[int] = mapped_column(
        Id, ForeignKey("certificates.id", ondelete="CASCADE")
    )
    version: Mapped[int] = mapped_column(Integer)

    __table_args__ = (
        UniqueConstraint("certificate_id", "version"),
        {"sqlite_autoincrement": True},
    )
