"""what serves TLS is fed

Revision 0009, after 0007.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0009"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_certificate_hostnames_hostname", "certificate_hostnames", ["hostname"])


def downgrade() -> None:
    op.drop_index("ix_certificate_hostnames_hostname", table_name="certificate_hostnames")
