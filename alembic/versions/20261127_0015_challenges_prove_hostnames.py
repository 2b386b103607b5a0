"""challenges prove hostnames

Revision 0015, after 0014.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
# As in 0006.
_OF_TENANT = """CASE WHEN current_setting('cc.tenant', true) = '*' THEN true
ELSE NULLIF(current_setting('cc.tenant', true), '')::bigint IN ({columns}) END"""
_POLICIES = {
    "hostname_challenges": _OF_TENANT.format(columns="user_id"),
    "hostname_transfers": _OF_TENANT.format(columns="from_user_id, to_user_id"),
}


def upgrade() -> None:
    _challenges()
    op.create_table(
        "hostname_transfers",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("from_user_id", _ID, nullable=False),
        sa.Column("to_user_id", _ID, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hostname_transfers"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_hostname_transfers_hostname_at", "hostname_transfers", ["hostname", "at"])
    op.create_table(
        "rate_counts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("ends_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_rate_counts"),
    )
    op.create_index("ix_rate_counts_ends_at", "rate_counts", ["ends_at"])
    where = sa.text("next_check_at IS NOT NULL")
    op.create_index(
        "ix_hostname_claims_next_check_at",
        "hostname_claims",
        ["next_check_at"],
        postgresql_where=where,
        sqlite_where=where,
    )
    if op.get_bind().dialect.name == "postgresql":
        for table, policy in _POLICIES.items():
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {table} USING ({policy})")


def downgrade() -> None:
    op.drop_index("ix_hostname_claims_next_check_at", "hostname_claims")
    op.drop_table("rate_counts")
    op.drop_table("hostname_transfers")
    op.drop_table("hostname_challenges")


def _challenges() -> None:
    op.create_table(
        "hostname_challenges",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("txt_token", sa.Text(), nullable=False),
        sa.Column("cname_label", sa.Text(), nullable=False),
        sa.Column("http_token", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("next_check_at", _TIME),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_checked_at", _TIME),
        sa.Column("last_result", sa.Text()),
        sa.Column("resolves_to_edge", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name="pk_hostname_challenges"),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name="fk_hostname_challenges_user_id_users",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("user_id", "hostname", name="uq_hostname_challenges_user_id_hostname"),
        sa.UniqueConstraint("cname_label", name="uq_hostname_challenges_cname_label"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_hostname_challenges_hostname", "hostname_challenges", ["hostname"])
    where = sa.text("next_check_at IS NOT NULL")
    op.create_index(
        "ix_hostname_challenges_next_check_at",
        "hostname_challenges",
        ["next_check_at"],
        postgresql_where=where,
        sqlite_where=where,
    )
