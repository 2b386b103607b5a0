"""agents that report under the same name are told apart

Revision 0013, after 0012.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("terminators", sa.Column("instance", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("terminators", "instance")
