"""email addresses are verified, and tokens know whether a password made them

Revision 0016, after 0015. Existing addresses are not verified, since nobody has proven them. Mails
that wait for them are held until they are verified. No verification mail is queued. A user's token
was made with a password unless the audit says that somebody else made it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
# As in 0006.
_MINE = """CASE WHEN current_setting('cc.tenant', true) = '*' THEN true
ELSE user_id = NULLIF(current_setting('cc.tenant', true), '')::bigint END"""
_OF_USERS = ("email_verifications", "email_verification_links")
_MARK_TOKENS = """UPDATE tokens SET by_password = true WHERE kind = 'user' AND NOT EXISTS (
SELECT 1 FROM audit WHERE audit.chain = tokens.user_id AND audit.action = 'token.create'
AND audit.object = '/tokens/' || CAST(tokens.id AS TEXT) AND audit.actor_kind <> 'user')"""


def upgrade() -> None:
    op.add_column("users", sa.Column("email_verified_at", _TIME))
    op.add_column(
        "expiry_notices",
        sa.Column("mail_held", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    _index("expiry_notices", "mail_held", ["user_id"], "mail_held")
    op.add_column(
        "tokens", sa.Column("by_password", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    _tables()
    if op.get_bind().dialect.name == "postgresql":
        # The owner of the tables sees no row without it.
        op.execute("SELECT set_config('cc.tenant', '*', true)")
    op.execute(
        "UPDATE expiry_notices SET mail_held = true, mail_due = NULL WHERE mail_due IS NOT NULL"
    )
    op.execute(_MARK_TOKENS)
    if op.get_bind().dialect.name == "postgresql":
        for table in _OF_USERS:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {table} USING ({_MINE})")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SELECT set_config('cc.tenant', '*', true)")
    op.execute("UPDATE expiry_notices SET mail_due = at WHERE mail_held")
    op.drop_column("tokens", "by_password")
    op.drop_table("email_verification_links")
    op.drop_table("email_verifications")
    op.drop_index("ix_expiry_notices_mail_held", "expiry_notices")
    op.drop_column("expiry_notices", "mail_held")
    op.drop_column("users", "email_verified_at")


def _tables() -> None:
    op.create_table(
        "email_verifications",
        sa.Column("user_id", _ID, autoincrement=False, nullable=False),
        sa.Column("requested_at", _TIME, nullable=False),
        sa.Column("mail_due", _TIME),
        sa.Column("mail_tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("mail_error", sa.Text()),
        sa.Column("mailed_at", _TIME),
        sa.PrimaryKeyConstraint("user_id", name="pk_email_verifications"),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name="fk_email_verifications_user_id_users",
            ondelete="CASCADE",
        ),
    )
    _index("email_verifications", "mail_due", ["mail_due"], "mail_due IS NOT NULL")
    op.create_table(
        "email_verification_links",
        sa.Column("token_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_email_verification_links"),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name="fk_email_verification_links_user_id_users",
            ondelete="CASCADE",
        ),
    )
    for column in ("user_id", "expires_at"):
        op.create_index(
            f"ix_email_verification_links_{column}", "email_verification_links", [column]
        )


def _index(table: str, name: str, columns: list[str], where: str) -> None:
    op.create_index(
        f"ix_{table}_{name}",
        table,
        columns,
        postgresql_where=sa.text(where),
        sqlite_where=sa.text(where),
    )
