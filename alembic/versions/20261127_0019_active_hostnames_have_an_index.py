"""active hostnames have an index

Revision 0019, after 0018. The hostnames of active certificates have an index of their own, so that
uploads that are not active do not slow the question which certificate is served.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLE = "certificate_hostnames"
_FILL = (
    "UPDATE certificate_hostnames SET active = "
    "(SELECT c.active FROM certificates c WHERE c.id = certificate_hostnames.certificate_id)"
)
# In the same words as the models have them.
_FOLLOW = "UPDATE certificate_hostnames SET active = NEW.active WHERE certificate_id = NEW.id;"
_TRIGGERS = {
    "sqlite": (
        "CREATE TRIGGER certificates_active AFTER UPDATE OF active ON certificates "
        f"WHEN NEW.active <> OLD.active BEGIN {_FOLLOW} END",
    ),
    "postgresql": (
        "CREATE FUNCTION certificates_active() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {_FOLLOW} RETURN NULL; END $$",
        "CREATE TRIGGER certificates_active AFTER UPDATE OF active ON certificates FOR EACH ROW "
        "WHEN (NEW.active <> OLD.active) EXECUTE FUNCTION certificates_active()",
    ),
}


def upgrade() -> None:
    dialect = context.get_context().dialect.name
    op.add_column(
        _TABLE, sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False)
    )
    if dialect == "postgresql":
        # As in 0006: the rows of all users.
        op.execute("SELECT set_config('cc.tenant', '*', true)")
    op.execute(_FILL)
    for statement in _TRIGGERS[dialect]:
        op.execute(statement)
    op.drop_index("ix_certificate_hostnames_hostname", table_name=_TABLE)
    op.create_index(
        "ix_certificate_hostnames_hostname_certificate_id", _TABLE, ["hostname", "certificate_id"]
    )
    op.create_index(
        "ix_certificate_hostnames_user_id_hostname_active",
        _TABLE,
        ["user_id", "hostname", "certificate_id"],
        postgresql_where=sa.text("active"),
        sqlite_where=sa.text("active = 1"),
    )


def downgrade() -> None:
    op.drop_index("ix_certificate_hostnames_user_id_hostname_active", table_name=_TABLE)
    op.drop_index("ix_certificate_hostnames_hostname_certificate_id", table_name=_TABLE)
    op.create_index("ix_certificate_hostnames_hostname", _TABLE, ["hostname"])
    if context.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER certificates_active ON certificates")
        op.execute("DROP FUNCTION certificates_active()")
    else:
        op.execute("DROP TRIGGER certificates_active")
    op.drop_column(_TABLE, "active")
