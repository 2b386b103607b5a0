"""The hostnames of certificates, and the owners of hostnames."""

from datetime import datetime

from sqlalchemy import DDL, Boolean, Index, Integer, Text, event, text, true
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Id, child_of, new_id, partial_index


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
        partial_index(
            "ix_certificate_hostnames_user_id_hostname_active",
            "user_id",
            "hostname",
            "certificate_id",
            where="active",
            sqlite_where="active = 1",
        ),
    )

    user_id: Mapped[int] = child_of("users.id", primary_key=True)
    hostname: Mapped[str] = mapped_column(Text, primary_key=True)
    certificate_id: Mapped[int] = child_of("certificates.id", primary_key=True)
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
        partial_index("ix_hostname_claims_unproven", "hostname", where="proof = 'none'"),
        partial_index(
            "ix_hostname_claims_next_check_at", "next_check_at", where="next_check_at IS NOT NULL"
        ),
    )

    hostname: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[int] = child_of("users.id")
    wildcard: Mapped[str | None]
    proof: Mapped[str] = mapped_column(Text, server_default="none")
    claimed_at: Mapped[datetime | None]
    proven_at: Mapped[datetime | None]
    proof_until: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    check_failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_check_at: Mapped[datetime | None]
    resolves_to_edge: Mapped[bool | None]


class HostnameNotice(Base):
    """An outbox row: a notification to a user about a hostname.

    There is no foreign key: inserting a row must not wait for the lock of the user's row.
    """

    __tablename__ = "hostname_notices"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = new_id()
    user_id: Mapped[int] = mapped_column(Id)
    hostname: Mapped[str]
    kind: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime]
