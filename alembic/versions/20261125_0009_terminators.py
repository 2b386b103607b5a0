"""what serves TLS is fed

Revision 0009, after 0008.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


_STATE = sa.table(
    "service_state",
    sa.column("name", sa.Text),
    sa.column(
        "since", sa.DateTime(timezone=True).with_variant(sa.DateTime(timezone=False), "sqlite")
    ),
)


_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# As in 0006.
_MINE = """CASE WHEN current_setting('cc.tenant', true) = '*' THEN true
ELSE user_id = NULLIF(current_setting('cc.tenant', true), '')::bigint END"""


def upgrade() -> None:
    # By it a reader of the feed knows this database from another one.
    began = datetime.now(UTC)
    if op.get_bind().dialect.name == "sqlite":
        began = began.replace(tzinfo=None)
    op.execute(sa.insert(_STATE).values(name="feed", since=began))
    op.create_index("ix_certificate_hostnames_hostname", "certificate_hostnames", ["hostname"])

    _tables()
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE servings ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE servings FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON servings USING ({_MINE})")


def downgrade() -> None:
    op.drop_table("servings")
    op.drop_table("terminators")
    op.execute(sa.delete(_STATE).where(_STATE.c.name == "feed"))
    op.drop_index("ix_certificate_hostnames_hostname", table_name="certificate_hostnames")


def _tables() -> None:
    op.create_table(
        "terminators",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text()),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_terminators"),
        sa.UniqueConstraint("name", name="uq_terminators_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "servings",
        sa.Column("terminator_id", _ID, nullable=False),
        sa.Column("certificate_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("serves", sa.Boolean(), nullable=False),
        sa.Column("verified", sa.Boolean()),
        sa.PrimaryKeyConstraint("terminator_id", "certificate_id", name="pk_servings"),
        sa.ForeignKeyConstraint(
            ["terminator_id"],
            ["terminators.id"],
            name="fk_servings_terminator_id_terminators",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["certificates.id"],
            name="fk_servings_certificate_id_certificates",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_servings_certificate_id", "servings", ["certificate_id"])
