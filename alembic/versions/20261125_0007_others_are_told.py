"""others are told: events, webhooks, deliveries

Revision 0007, after 0006. A service of an earlier revision knows none of these tables: what it
changes while the database is migrated is not recorded as an event.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# As in 0006.
_MINE = """CASE WHEN current_setting('cc.tenant', true) = '*' THEN true
ELSE user_id = NULLIF(current_setting('cc.tenant', true), '')::bigint END"""
# Compared as texts: the planner looks at what is in a subquery, and `*` is no number.
_OF_MY_WEBHOOK = """current_setting('cc.tenant', true) = '*'
OR EXISTS (SELECT 1 FROM webhooks WHERE webhooks.id = webhook_id
AND webhooks.user_id::text = current_setting('cc.tenant', true))"""
_ROWS = {
    "events": _MINE,
    "webhooks": _MINE,
    "webhook_secrets": _OF_MY_WEBHOOK,
    "deliveries": _MINE,
}


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    _events()
    _webhooks()
    _deliveries()
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, mine in _ROWS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({mine})")
    # Whoever records an event must find the endpoints that hear of all users. Their secrets are in
    # a table of their own.
    op.execute("CREATE POLICY operators ON webhooks FOR SELECT USING (user_id IS NULL)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP POLICY operators ON webhooks")
        for table in _ROWS:
            op.execute(f"DROP POLICY tenant ON {table}")
    for table in ("deliveries", "webhook_secrets", "webhooks", "events"):
        op.drop_table(table)


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("xid", _ID),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        _time("at"),
        sa.Column("certificate_id", _ID),
        sa.Column("version", sa.Integer()),
        sa.Column("active", sa.Boolean()),
        sa.Column("hostnames", sa.Text()),
        _time("not_after", nullable=True),
        sa.Column("fingerprint_sha256", sa.Text()),
        sa.Column("webhook_id", _ID),
        sa.Column("notify", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_user_id_id", "events", ["user_id", "id"])
    op.create_index("ix_events_xid_id", "events", ["xid", "id"])


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("configured", sa.Boolean(), nullable=False),
        _time("created_at"),
        _time("failing_since", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_webhooks_user_id_users", ondelete="CASCADE"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhooks_user_id_id", "webhooks", ["user_id", "id"])
    op.create_index(
        "uq_webhooks_configured",
        "webhooks",
        ["configured"],
        unique=True,
        postgresql_where=sa.text("configured"),
        sqlite_where=sa.text("configured = 1"),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("webhook_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("master_key_id", sa.Text(), nullable=False),
        _time("created_at"),
        _time("ends_at", nullable=True),
        sa.PrimaryKeyConstraint("webhook_id", "version", name="pk_webhook_secrets"),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhooks.id"],
            name="fk_webhook_secrets_webhook_id_webhooks",
            ondelete="CASCADE",
        ),
    )


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("webhook_id", _ID, nullable=False),
        sa.Column("event_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("subject", _ID, nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("due", sa.DateTime(timezone=True)),
        sa.Column("lease", _ID),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Text(), server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", "event_id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhooks.id"],
            name="fk_deliveries_webhook_id_webhooks",
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "ix_deliveries_webhook_id_due",
        "deliveries",
        ["webhook_id", "due"],
        postgresql_where=sa.text("due IS NOT NULL"),
        sqlite_where=sa.text("due IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_webhook_id_event_id_dead",
        "deliveries",
        ["webhook_id", "event_id"],
        postgresql_where=sa.text("status = 'dead'"),
        sqlite_where=sa.text("status = 'dead'"),
    )
    op.create_index(
        "ix_deliveries_webhook_id_subject_event_id_pending",
        "deliveries",
        ["webhook_id", "subject", "event_id"],
        postgresql_where=sa.text("status = 'pending'"),
        sqlite_where=sa.text("status = 'pending'"),
    )
