"""what serves TLS is fed

Revision 0009, after 0007.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


_STATE = sa.table(
    "service_state",
    sa.column("name", sa.Text),
    sa.column(
        "since", sa.DateTime(timezone=True).with_variant(sa.DateTime(timezone=False), "sqlite")
    ),
)


def upgrade() -> None:
    # By it a reader of the feed knows this database from another one.
    began = datetime.now(UTC)
    if op.get_bind().dialect.name == "sqlite":
        began = began.replace(tzinfo=None)
    op.execute(sa.insert(_STATE).values(name="feed", since=began))
    op.create_index("ix_certificate_hostnames_hostname", "certificate_hostnames", ["hostname"])


def downgrade() -> None:
    op.execute(sa.delete(_STATE).where(_STATE.c.name == "feed"))
    op.drop_index("ix_certificate_hostnames_hostname", table_name="certificate_hostnames")
