"""Certificates that users upload, and their earlier versions."""

from datetime import datetime

from sqlalchemy import ColumnElement, Index, Integer, Text, UniqueConstraint, case, literal, text
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from .base import LONG_AGO, Base, Time, child_of, new_id, partial_index
from .pem_text import PemText

# Conditions of partial indexes, which a statement must repeat to use the index.
# PostgreSQL refuses to index a text of more than about 2,700 bytes.
SHORT_ISSUER, MOST_ISSUER_CHARACTERS = "length(issuer) <= 500", 500
SHORT_SERIAL, MOST_SERIAL_CHARACTERS = "length(serial) <= 160", 160
# Most certificates are public, and nobody needs an index to find most certificates.
NOT_PUBLIC = "trust <> 'public'"
# A certificate that is not valid yet was not valid when it was stored.
STARTS_LATER = "not_before > coalesce(updated_at, created_at)"
# No server may get the certificate at some time before it expires.
IMPAIRED = (
    "(trust = 'unreadable' OR not_servable IS NOT NULL OR serve_not_after < not_after"
    f" OR serve_not_before > not_before OR {STARTS_LATER})"
)

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
    subject: Mapped[str | None]
    issuer: Mapped[str | None]
    serial: Mapped[str | None]
    hostnames: Mapped[str] = mapped_column(Text, server_default="[]")
    not_before: Mapped[datetime | None]
    not_after: Mapped[datetime | None]
    fingerprint_sha256: Mapped[str | None]
    spki_sha256: Mapped[str | None]
    key_algorithm: Mapped[str | None]
    signature_algorithm: Mapped[str | None]
    updated_at: Mapped[datetime | None]
    serve_not_before: Mapped[datetime | None]
    serve_not_after: Mapped[datetime | None]
    not_servable: Mapped[str | None]
    proves_hostnames: Mapped[bool | None]

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

    `labels` is a JSON object. Triggers copy it to CertificateLabel.
    """

    __tablename__ = "certificates"

    id: Mapped[int] = new_id()
    user_id: Mapped[int] = child_of("users.id")
    active: Mapped[bool]
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    created_at: Mapped[datetime]
    expiry_due: Mapped[datetime | None] = mapped_column(Time, server_default=LONG_AGO)
    activate_at: Mapped[datetime | None]
    pending: Mapped[str | None]
    labels: Mapped[str] = mapped_column(Text, server_default="{}")

    __table_args__ = (
        Index(None, "user_id", "id"),
        # After years of renewals, a customer has few active certificates among many old ones.
        partial_index(
            "ix_certificates_user_id_id_active",
            "user_id",
            "id",
            where="active",
            sqlite_where="active = 1",
        ),
        Index("ix_certificates_fingerprint_sha256_user_id", "fingerprint_sha256", "user_id"),
        Index("ix_certificates_user_id_not_after", "user_id", "not_after"),
        Index("ix_certificates_user_id_trust", "user_id", "trust", "id"),
        partial_index(
            "ix_certificates_expiry_due", "expiry_due", "id", where="expiry_due IS NOT NULL"
        ),
        partial_index(
            "ix_certificates_activate_at", "activate_at", "id", where="activate_at IS NOT NULL"
        ),
        # Searches over all users (services/fleet, docs/decisions/0042-fleet-search.md).
        Index("ix_certificates_spki_sha256_id", "spki_sha256", "id"),
        partial_index("ix_certificates_serial_id", "serial", "id", where=SHORT_SERIAL),
        partial_index(
            "ix_certificates_issuer_not_after_id", "issuer", "not_after", "id", where=SHORT_ISSUER
        ),
        Index("ix_certificates_not_after_id", "not_after", "id"),
        partial_index(
            "ix_certificates_not_after_id_active",
            "not_after",
            "id",
            where="active",
            sqlite_where="active = 1",
        ),
        partial_index("ix_certificates_not_before_id", "not_before", "id", where=STARTS_LATER),
        partial_index(
            "ix_certificates_trust_not_after_id", "trust", "not_after", "id", where=NOT_PUBLIC
        ),
        partial_index("ix_certificates_id_impaired", "id", where=IMPAIRED),
        partial_index("ix_certificates_not_after_id_impaired", "not_after", "id", where=IMPAIRED),
        # Certificates are stored inline (a page holds one or two rows): lists read 41 % faster.
        {"sqlite_autoincrement": True, "postgresql_with": {"toast_tuple_target": 8160}},
    )

    def watch_expiry(self, now: datetime) -> None:
        """Schedules an expiry check. Call this if the content or the active state has changed."""
        self.expiry_due = now if self.active else None


class CertificateVersion(Content, Base):
    """An earlier version of a certificate, or a pending one.

    A pending version waits for its cutover, and has the next number.
    """

    __tablename__ = "certificate_versions"

    id: Mapped[int] = new_id()
    certificate_id: Mapped[int] = child_of("certificates.id")
    version: Mapped[int]

    __table_args__ = (
        UniqueConstraint("certificate_id", "version"),
        # Incidents of a CA (services/fleet/incident_statements.py).
        partial_index(
            "ix_certificate_versions_issuer_not_after", "issuer", "not_after", where=SHORT_ISSUER
        ),
        Index(None, "spki_sha256"),
        partial_index("ix_certificate_versions_serial", "serial", where=SHORT_SERIAL),
        {"sqlite_autoincrement": True},
    )
