"""certificates know whether they can be served

Revision 0010, after 0009. Of the rows that are there, the findings say which have no usable key.
`customer-certificates migrate` then examines the others: when their chains
expire, and whether servers can load them.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ("certificates", "certificate_versions")
_NO_KEY = ("key_invalid", "key_encrypted", "passphrase_wrong", "key_too_costly", "key_mismatch")
# Keys of other sizes were not read, but stored as they came.
_RSA_THAT_WAS_READ = ("RSA-2048", "RSA-3072", "RSA-4096")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # Until the end of the transaction; without it row-level security hides all rows.
        op.execute("SELECT set_config('cc.tenant', '*', true)")
    for table in _TABLES:
        op.add_column(table, sa.Column("serve_not_before", sa.DateTime(timezone=True)))
        op.add_column(table, sa.Column("serve_not_after", sa.DateTime(timezone=True)))
        op.add_column(table, sa.Column("not_servable", sa.Text()))
        _derive(table)


def downgrade() -> None:
    for table in _TABLES:
        for column in ("not_servable", "serve_not_after", "serve_not_before"):
            op.drop_column(table, column)


def _derive(table: str) -> None:
    rows = sa.table(
        table,
        sa.column("findings", sa.Text),
        sa.column("key_algorithm", sa.Text),
        sa.column("not_servable", sa.Text),
    )
    is_unread_rsa = sa.and_(
        rows.c.key_algorithm.like("RSA-%"),
        rows.c.key_algorithm.not_in(_RSA_THAT_WAS_READ),
        _has(rows, "key_weak"),
    )
    without_key = sa.or_(is_unread_rsa, *(_has(rows, code) for code in _NO_KEY))
    op.execute(sa.update(rows).where(without_key).values(not_servable="no_key"))


def _has(rows: sa.TableClause, code: str) -> sa.ColumnElement[bool]:
    # Quotes in texts are escaped in JSON, so this stands for nothing else.
    return rows.c.findings.contains(f'"code":"{code}"', autoescape=True)
