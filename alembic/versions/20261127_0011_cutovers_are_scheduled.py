"""cutovers are scheduled

Revision 0011, after 0010. A service of an earlier revision knows of no schedule: it keeps what is
scheduled and ignores it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# A version that waits for its cutover would be an ordinary one to an earlier revision.
_FORGET = (
    """DELETE FROM private_keys WHERE EXISTS (SELECT 1 FROM certificates
WHERE certificates.id = certificate_id AND private_keys.version > certificates.version)""",
    """DELETE FROM certificate_versions WHERE EXISTS (SELECT 1 FROM certificates
WHERE certificates.id = certificate_id AND certificate_versions.version > certificates.version)""",
)


def upgrade() -> None:
    op.add_column("certificates", sa.Column("activate_at", sa.DateTime(timezone=True)))
    op.add_column("certificates", sa.Column("pending", sa.Text()))
    where = sa.text("activate_at IS NOT NULL")
    op.create_index(
        "ix_certificates_activate_at",
        "certificates",
        ["activate_at", "id"],
        postgresql_where=where,
        sqlite_where=where,
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # As in 0010, for those who run the statements with another client.
        op.execute("SELECT set_config('cc.tenant', '*', true)")
    for statement in _FORGET:
        op.execute(statement)
    op.drop_index("ix_certificates_activate_at", "certificates")
    op.drop_column("certificates", "pending")
    op.drop_column("certificates", "activate_at")
