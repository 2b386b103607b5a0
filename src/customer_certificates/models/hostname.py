"""The hostnames of certificates, and the owners of hostnames."""

from datetime import datetime

from sqlalchemy import DDL, Boolean, ForeignKey, Identity, Index, Integer, Text, event, text, true
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, Time


class CertificateHostname(Base):
    """A hostname of a certificate, by which the certificate is found.

    The certificate may be inactive. A trigger copies `active` from the certificate. It may be true
    for an inactive certificate, as it only narrows the search.
    """

    __tablename__ = "certificate_hostnames"
    __table_args__ = (
        Index(None, "certificate_id"),
        Index(None, "hostname", "certificate_id"),
        # Users may upload any number of inactive certificates for a name.
        Index(
            "ix_certificate_hostnames_user_id_hostname_active",
            "user_id",
            "hostname",
            "certificate_id",
            postgresql_where=text("active"),
            sqlite_where=text("active = 1"),
        ),
    )

    user_id: Mapped[int] = mapped_column(
        Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    hostname: Mapped[str] = mapped_column(Text, primary_key=True)
    certificate_id: Mapped[int] = mapped_column(
        Id, ForeignKey("certificates.id", ondelete="CASCADE"), primary_key=True
    )
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())


_FOLLOW = "UPDATE certificate_hostnames SET active = NEW.active WHERE certificate_id = NEW.id;"
for _dialect, _statement in (
    (
        "sqlite",
        "CREATE TRIGGER certificates_active AFTER UPDATE OF active ON certificates "
        f"WHEN NEW.active <> OLD.active BEGIN {_FOLLOW} END",
    ),
    (
        "postgresql",
        "CREATE FUNCTION certificates_active() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {_FOLLOW} RETURN NULL; END $$",
    ),
    (
        "postgresql",
        "CREATE TRIGGER certificates_active AFTER UPDATE OF active ON certificates FOR EACH ROW "
        "WHEN (NEW.active <> OLD.active) EXECUTE FUNCTION certificates_active()",
    ),
):
    _ddl = DDL(_statement).execute_if(dialect=_dialect)
    event.listen(CertificateHostname.__table__, "after_create", _ddl)


class HostnameClaim(Base):
    """A user's claim to this hostname, which excludes other users.

    The rules are in pki/names/ownership.py. `wildcard` is the one that covers an exact name; None:
    there is none. `proof` says how control of the name was proven: operator, challenge, public_ca
    or none. For a proof by a certificate, `proven_at` is its notBefore. The proof is valid until
    `proof_until` (None: it does not expire). `checked_at`, `check_failures` and `next_check_at`
    concern repeated challenges. `resolves_to_edge` is None if it is unknown.
    """

    __tablename__ = "hostname_claims"
    __table_args__ = (
        Index(None, "user_id", "hostname"),
        Index(None, "wildcard"),
        Index(
            "ix_hostname_claims_next_check_at",
            "next_check_at",
            postgresql_where=text("next_check_at IS NOT NULL"),
            sqlite_where=text("next_check_at IS NOT NULL"),
        ),
    )

    hostname: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    wildcard: Mapped[str | None] = mapped_column(Text)
    proof: Mapped[str] = mapped_column(Text, server_default="none")
    claimed_at: Mapped[datetime | None] = mapped_column(Time)
    proven_at: Mapped[datetime | None] = mapped_column(Time)
    proof_until: Mapped[datetime | None] = mapped_column(Time)
    checked_at: Mapped[datetime | None] = mapped_column(Time)
    check_failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_check_at: Mapped[datetime | None] = mapped_column(Time)
    resolves_to_edge: Mapped[bool | None] = mapped_column(Boolean)


class HostnameNotice(Base):
    """An outbox row: a notification to a user about a hostname.

    There is no foreign key: inserting a row must not wait for the lock of the user's row.
    """

    __tablename__ = "hostname_notices"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Id, Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(Id)
    hostname: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Time)
