"""owners are told of the ends of certificates

Revision 0008, after 0007. No certificate is read: what is stored is looked at by the worker, which
`expiry_due` tells to. What a service of an earlier revision activates while the database is
migrated is looked at when it is next changed.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
# As in 0006.
_MINE = """CASE WHEN current_setting('cc.tenant', true) = '*' THEN true
ELSE user_id = NULLIF(current_setting('cc.tenant', true), '')::bigint END"""


def upgrade() -> None:
    op.add_column("users", sa.Column("expiry_thresholds", sa.Text()))
    op.add_column(
        "certificates", sa.Column("expiry_due", _TIME, server_default="1970-01-01 00:00:00")
    )
    _index("certificates", "expiry_due", ["expiry_due", "id"])
    op.create_table(
        "expiry_notices",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("certificate_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("mail_due", _TIME),
        sa.Column("mail_tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("mail_error", sa.Text()),
        sa.Column("mailed_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_expiry_notices"),
        sa.UniqueConstraint(
            "certificate_id",
            "version",
            "threshold",
            name="uq_expiry_notices_certificate_id_version_threshold",
        ),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["certificates.id"],
            name="fk_expiry_notices_certificate_id_certificates",
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    _index("expiry_notices", "mail_due", ["mail_due"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE expiry_notices ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE expiry_notices FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON expiry_notices USING ({_MINE})")


def downgrade() -> None:
    op.drop_table("expiry_notices")
    op.drop_index("ix_certificates_expiry_due", "certificates")
    op.drop_column("certificates", "expiry_due")
    op.drop_column("users", "expiry_thresholds")


def _index(table: str, column: str, columns: list[str]) -> None:
    where = sa.text(f"{column} IS NOT NULL")
    op.create_index(
        f"ix_{table}_{column}", table, columns, postgresql_where=where, sqlite_where=where
    )
