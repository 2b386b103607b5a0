"""Counters of the certificates of all users, by which operators see the whole fleet.

Triggers append each change of a certificate to `summary_changes`, so that uploads of different
tenants lock no common row. The worker adds these rows to the counters
(services/fleet/summary_counters.py).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import DDL, BigInteger, Index, Text, event
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, new_id
from .certificate import Certificate


class SummaryChange(Base):
    """A certificate that was added (`amount` 1) or removed (-1). A changed one is both.

    `issuer` is its first 500 characters: longer ones are not indexed. `stored_at` is when the
    version was uploaded.
    """

    __tablename__ = "summary_changes"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = new_id()
    amount: Mapped[int]
    active: Mapped[bool]
    trust: Mapped[str]
    key_algorithm: Mapped[str | None]
    issuer: Mapped[str | None]
    not_before: Mapped[datetime | None]
    not_after: Mapped[datetime | None]
    serve_not_before: Mapped[datetime | None]
    serve_not_after: Mapped[datetime | None]
    not_servable: Mapped[str | None]
    stored_at: Mapped[datetime]


class SummaryValue(Base):
    """The number of certificates with a value (`issuer`, `key_algorithm` or `trust`)."""

    __tablename__ = "summary_values"
    __table_args__ = (Index(None, "dimension", "number", "value"),)

    dimension: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class SummaryDates(Base):
    """The number of certificates whose status changes at the same times.

    `reason` says why no server can ever serve them (empty: servers can). `expires_on` is the day of
    `not_after`. The other times are in seconds since 1970, and 0 if they have no effect
    (services/fleet/summary_buckets.py).
    """

    __tablename__ = "summary_dates"

    active: Mapped[bool] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(Text, primary_key=True)
    expires_on: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    valid_from: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chain_valid_from: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chain_expires: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)


_COPIED = "{0}.active, {0}.trust, {0}.key_algorithm, substr({0}.issuer, 1, 500), "
_COPIED += "{0}.not_before, {0}.not_after, {0}.serve_not_before, {0}.serve_not_after, "
_COPIED += "{0}.not_servable, coalesce({0}.updated_at, {0}.created_at)"
_OLD, _NEW = _COPIED.format("OLD"), _COPIED.format("NEW")
_INSERT = (
    "INSERT INTO summary_changes (amount, active, trust, key_algorithm, issuer, not_before, "
    "not_after, serve_not_before, serve_not_after, not_servable, stored_at) VALUES "
)
_ADD, _REMOVE = f"{_INSERT}(1, {_NEW});", f"{_INSERT}(-1, {_OLD});"
_INSERTED = "CREATE TRIGGER certificates_summary_inserted AFTER INSERT ON certificates "
_UPDATED = "CREATE TRIGGER certificates_summary_updated AFTER UPDATE ON certificates "
_DELETED = "CREATE TRIGGER certificates_summary_deleted AFTER DELETE ON certificates "
_EXECUTE = "EXECUTE FUNCTION certificates_summary()"
_TRIGGERS = (
    ("sqlite", f"{_INSERTED}BEGIN {_ADD} END"),
    ("sqlite", f"{_UPDATED}WHEN ({_NEW}) IS NOT ({_OLD}) BEGIN {_REMOVE} {_ADD} END"),
    ("sqlite", f"{_DELETED}BEGIN {_REMOVE} END"),
    (
        "postgresql",
        "CREATE FUNCTION certificates_summary() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF TG_OP <> 'INSERT' THEN {_REMOVE} END IF; "
        f"IF TG_OP <> 'DELETE' THEN {_ADD} END IF; RETURN NULL; END $$",
    ),
    ("postgresql", f"{_INSERTED}FOR EACH ROW {_EXECUTE}"),
    (
        "postgresql",
        f"{_UPDATED}FOR EACH ROW WHEN (ROW({_NEW}) IS DISTINCT FROM ROW({_OLD})) {_EXECUTE}",
    ),
    ("postgresql", f"{_DELETED}FOR EACH ROW {_EXECUTE}"),
)
_certificates: Any = Certificate.__table__
for _dialect, _statement in _TRIGGERS:
    event.listen(_certificates, "after_create", DDL(_statement).execute_if(dialect=_dialect))
