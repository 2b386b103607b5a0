"""hostname claims have proofs

Revision 0014, after 0013. `customer-certificates migrate` then examines stored certificates of
public CAs, and gives existing claims the proof that those are. Claims of two users that contradict
each other under the new rules stay as they are.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CONTENT_TABLES = ("certificates", "certificate_versions")
# As in 0006.
_MINE = """CASE WHEN current_setting('cc.tenant', true) = '*' THEN true
ELSE user_id = NULLIF(current_setting('cc.tenant', true), '')::bigint END"""
# The wildcard that covers a name. Wildcards, single labels and addresses have none.
_WILDCARDS = {
    "postgresql": """UPDATE hostname_claims
SET wildcard = '*' || substr(hostname, strpos(hostname, '.'))
WHERE hostname LIKE '%.%' AND hostname NOT LIKE '*.%' AND hostname !~ '^[0-9.]+$|:'""",
    "sqlite": """UPDATE hostname_claims SET wildcard = '*' || substr(hostname, instr(hostname, '.'))
WHERE hostname LIKE '%.%' AND hostname NOT LIKE '*.%' AND hostname NOT LIKE '%:%'
AND hostname GLOB '*[^0-9.]*'""",
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    if dialect == "postgresql":
        # Until the end of the transaction; without it row-level security hides all rows.
        op.execute("SELECT set_config('cc.tenant', '*', true)")
    for table in _CONTENT_TABLES:
        op.add_column(table, sa.Column("proves_hostnames", sa.Boolean()))
        # Only a certificate of a public CA can prove anything; `migrate` examines those.
        op.execute(f"UPDATE {table} SET proves_hostnames = false WHERE trust <> 'public'")  # noqa: S608
    for column in _claim_columns():
        op.add_column("hostname_claims", column)
    op.execute(_WILDCARDS[dialect])
    op.drop_index("ix_hostname_claims_user_id", "hostname_claims")
    op.create_index(
        "ix_hostname_claims_user_id_hostname", "hostname_claims", ["user_id", "hostname"]
    )
    op.create_index("ix_hostname_claims_wildcard", "hostname_claims", ["wildcard"])
    _notices(dialect)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP POLICY tenant ON hostname_notices")
    op.drop_table("hostname_notices")
    op.drop_index("ix_hostname_claims_wildcard", "hostname_claims")
    op.drop_index("ix_hostname_claims_user_id_hostname", "hostname_claims")
    op.create_index("ix_hostname_claims_user_id", "hostname_claims", ["user_id"])
    for column in reversed(_claim_columns()):
        op.drop_column("hostname_claims", column.name)
    for table in _CONTENT_TABLES:
        op.drop_column(table, "proves_hostnames")


def _claim_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("wildcard", sa.Text()),
        sa.Column("proof", sa.Text(), server_default="none", nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True)),
        sa.Column("proven_at", sa.DateTime(timezone=True)),
        sa.Column("proof_until", sa.DateTime(timezone=True)),
        sa.Column("checked_at", sa.DateTime(timezone=True)),
        sa.Column("check_failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_check_at", sa.DateTime(timezone=True)),
        sa.Column("resolves_to_edge", sa.Boolean()),
    ]


def _notices(dialect: str) -> None:
    op.create_table(
        "hostname_notices",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hostname_notices"),
        sqlite_autoincrement=True,
    )
    if dialect == "postgresql":
        op.execute("ALTER TABLE hostname_notices ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE hostname_notices FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON hostname_notices USING ({_MINE})")
