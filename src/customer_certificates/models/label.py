"""Labels of users and of certificates, by which operators find them.

The column `labels` (JSON) of a row is what the API shows. Triggers copy it to these tables, so that
a search uses an index, and a write needs no other statement.
"""

from typing import Any

from sqlalchemy import DDL, Index, Text, event
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, child_of


class UserLabel(Base):
    """A label of a user."""

    __tablename__ = "user_labels"
    __table_args__ = (Index("ix_user_labels_name_value_user_id", "name", "value", "user_id"),)

    user_id: Mapped[int] = child_of("users.id", primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str]


class CertificateLabel(Base):
    """A label of a certificate of the user `user_id`."""

    __tablename__ = "certificate_labels"
    __table_args__ = (
        Index("ix_certificate_labels_name_value_certificate_id", "name", "value", "certificate_id"),
    )

    certificate_id: Mapped[int] = child_of("certificates.id", primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str]
    user_id: Mapped[int] = child_of("users.id")


def _copy_labels(table: Any, owners: str, columns: str, values: str) -> None:
    """Creates the triggers of the table `owners`, which copy its labels to `table`."""
    name, key = table.name, columns.partition(",")[0]
    delete = f"DELETE FROM {name} WHERE {key} = NEW.id;"  # noqa: S608 - constants
    source = f"({columns}, name, value) SELECT {values}, key, value FROM"
    insert = f"INSERT INTO {name} {source}"
    on_sqlite = f"{insert} json_each(NEW.labels);"
    on_postgresql = f"{insert} jsonb_each_text(NEW.labels::jsonb);"
    inserted = f"CREATE TRIGGER {owners}_labels_inserted AFTER INSERT ON {owners} "
    updated = f"CREATE TRIGGER {owners}_labels_updated AFTER UPDATE OF labels ON {owners} "
    for dialect, statement in (
        ("sqlite", f"{inserted}WHEN NEW.labels <> '{{}}' BEGIN {on_sqlite} END"),
        ("sqlite", f"{updated}WHEN NEW.labels <> OLD.labels BEGIN {delete} {on_sqlite} END"),
        (
            "postgresql",
            f"CREATE FUNCTION {owners}_labels() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {delete} {on_postgresql} RETURN NULL; END $$",
        ),
        (
            "postgresql",
            f"{inserted}FOR EACH ROW WHEN (NEW.labels <> '{{}}') "
            f"EXECUTE FUNCTION {owners}_labels()",
        ),
        (
            "postgresql",
            f"{updated}FOR EACH ROW WHEN (NEW.labels <> OLD.labels) "
            f"EXECUTE FUNCTION {owners}_labels()",
        ),
    ):
        event.listen(table, "after_create", DDL(statement).execute_if(dialect=dialect))


_copy_labels(UserLabel.__table__, "users", "user_id", "NEW.id")
_copy_labels(
    CertificateLabel.__table__, "certificates", "certificate_id, user_id", "NEW.id, NEW.user_id"
)
