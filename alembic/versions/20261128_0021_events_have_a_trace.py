"""events have a trace

Revision 0021, after 0020. An event has the trace context of the request that caused it, so that its
deliveries belong to the same trace. Earlier events have none.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("events", sa.Column("traceparent", sa.Text()))


def downgrade() -> None:
    op.drop_column("events", "traceparent")
