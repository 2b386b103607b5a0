"""certificates know whether they can be served

Revision 0010, after 0009. A row with a chain and no `serve_not_after` was written by an earlier
version of the service: `migrate` fills these columns in.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ("certificates", "certificate_versions")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("serve_not_before", sa.DateTime(timezone=True)))
        op.add_column(table, sa.Column("serve_not_after", sa.DateTime(timezone=True)))
        op.add_column(table, sa.Column("not_servable", sa.Text()))


def downgrade() -> None:
    for table in _TABLES:
        for column in ("not_servable", "serve_not_after", "serve_not_before"):
            op.drop_column(table, column)
