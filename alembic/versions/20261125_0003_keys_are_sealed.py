"""keys are sealed

Revision 0003, after 0002. Private keys leave `certificates` and `certificate_versions`. What was
there waits in `unsealed_keys` for `customer-certificates migrate`, which has the master key, and
seals it: a service of revision 0002 cannot go on beside this one.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNSEALED = sa.table("unsealed_keys", *map(sa.column, ("certificate_id", "version", "private_key")))
_HELD_BY = {"certificates": "id", "certificate_versions": "certificate_id"}


def _belongs_to(column: str, owner: str, table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{owner}.id"], name=f"fk_{table}_{column}_{owner}", ondelete="CASCADE"
    )


def _create_keys(table: str, column: str) -> None:
    op.create_table(
        table,
        sa.Column("certificate_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(column, sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("certificate_id", "version", name=f"pk_{table}"),
        _belongs_to("certificate_id", "certificates", table),
    )


def upgrade() -> None:
    op.create_table(
        "user_keys",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("master_key_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "version", name="pk_user_keys"),
        _belongs_to("user_id", "users", "user_keys"),
    )
    _create_keys("private_keys", "sealed")
    _create_keys("unsealed_keys", "private_key")
    for table, certificate_id in _HELD_BY.items():
        held = sa.table(table, *map(sa.column, (certificate_id, "version", "private_key")))
        op.execute(
            _UNSEALED.insert().from_select(
                list(_UNSEALED.c.keys()),
                sa.select(held.c[certificate_id], held.c.version, held.c.private_key),
            )
        )
        op.drop_column(table, "private_key")


def downgrade() -> None:
    if not context.is_offline_mode():
        sealed = op.get_bind().execute(sa.text("SELECT count(*) FROM private_keys")).scalar_one()
        if sealed:
            raise RuntimeError(
                f"{sealed} private keys are sealed; without the master key, which a migration does "
                "not have, they cannot be put back as revision 0002 stored them. Delete their "
                "certificates, or restore a backup from before revision 0003."
            )
    for table, certificate_id in _HELD_BY.items():
        # The default spares SQLite a table made anew.
        op.add_column(
            table,
            sa.Column(
                "private_key", sa.LargeBinary(), server_default=sa.text("''"), nullable=False
            ),
        )
        held = sa.table(table, *map(sa.column, (certificate_id, "version", "private_key")))
        key = sa.select(_UNSEALED.c.private_key).where(
            _UNSEALED.c.certificate_id == held.c[certificate_id],
            _UNSEALED.c.version == held.c.version,
        )
        op.execute(held.update().values(private_key=key.scalar_subquery()))
    for table in ("unsealed_keys", "private_keys", "user_keys"):
        op.drop_table(table)
