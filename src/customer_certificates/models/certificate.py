"""A certificate that a user brought, and the versions that it had before."""

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

# `Content.served_pem` where `body` is to be served as it is: it is not stored twice.
AS_BODY = ""


def served_text(body: str, served_pem: str | None) -> str | None:
    """Returns the certificates that terminators serve, in PEM, from the stored columns."""
    return body if served_pem == AS_BODY else served_pem


class Content:
    """What one version of a certificate consists of.

    `body` and `chain` are the certificates that came, in PEM, or the texts as they came if
    something in them could not be read. `served_pem` is what should be served: AS_BODY if it is
    `body`, as usual, and None if nothing could be understood; `chain_pem` gives it. `findings` and
    `hostnames` are JSON. `updated_at` is None where nothing was before it. The private key is not
    part of it: it has a table of its own.

    The certificate can be served from `serve_not_before` to `serve_not_after`: then all of
    `chain_pem` is valid. None: not known, the certificate's own dates hold. `not_servable` is the
    code of the reason why no server can load certificate and key (None: servers can).
    `proves_hostnames`: a public CA issued it for servers, so with its key it proves control of its
    hostnames (None: not examined yet).

    What has a default is what the first version of the service did not know: during an upgrade it
    may still be inserting rows.
    """

    body: Mapped[str] = mapped_column(PemText)
    chain: Mapped[str | None] = mapped_column(PemText)
    served_pem: Mapped[str | None] = mapped_column(PemText)
    trust: Mapped[str] = mapped_column(Text, server_default="opaque")
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
        """The certificates that terminators serve, in PEM."""
        return served_text(self.body, self.served_pem)

    @chain_pem.inplace.expression
    @classmethod
    def _chain_pem(cls) -> ColumnElement[str | None]:
        return case((cls.served_pem == literal(AS_BODY, PemText), cls.body), else_=cls.served_pem)


CONTENT = tuple(Content.__annotations__)


class Certificate(Content, Base):
    """A certificate as it stands; `version` counts what it has been replaced with.

    `expiry_due` is when the worker is to look at it next, whether its owner is to be told that it
    ends; None: never, as long as nothing changes. What an earlier version of the service inserts is
    looked at soon.

    At `activate_at` the worker makes a cutover (services/certificates/versions/cutovers.py): to the
    version `version` + 1 among its CertificateVersions if there is one; otherwise the certificate
    becomes active. None:
    no cutover is scheduled. `pending` is what the API shows of it (JSON, views.PendingView).
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
        # A customer who renews for years has few active certificates among many old ones.
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
        # Certificates stay in the row (a page holds one or two): lists read 41 % faster.
        {"sqlite_autoincrement": True, "postgresql_with": {"toast_tuple_target": 8160}},
    )

    def watch_expiry(self, now: datetime) -> None:
        """Has the worker look at it: what it is, or whether it is active, has changed."""
        self.expiry_due = now if self.active else None


class CertificateVersion(Content, Base):
    """Another version of a certificate: one that was replaced, or the one that waits for its
    cutover, which has the next number."""

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
