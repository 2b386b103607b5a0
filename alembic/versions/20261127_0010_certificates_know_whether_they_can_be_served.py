"""certificates know whether they can be served

Revision 0010, after 0009. Of the rows that are there, the findings say which have no usable key.
When their chains expire is not known: their own dates hold.
"""

import json
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ("certificates", "certificate_versions")
_NO_KEY = {"key_invalid", "key_encrypted", "passphrase_wrong", "key_too_costly", "key_mismatch"}
# Keys of other sizes were not read, but stored as they came.
_RSA_THAT_WAS_READ = ("RSA-2048", "RSA-3072", "RSA-4096")


def upgrade() -> None:
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
        sa.column("id"),
        sa.column("findings", sa.Text),
        sa.column("key_algorithm", sa.Text),
        sa.column("not_servable", sa.Text),
    )
    about_keys = sa.or_(
        rows.c.findings.like('%"key\\_%', escape="\\"),
        rows.c.findings.like('%"passphrase\\_%', escape="\\"),
    )
    found = op.get_bind().execute(
        sa.select(rows.c.id, rows.c.findings, rows.c.key_algorithm).where(about_keys)
    )
    without_key = [
        {"of_id": row.id} for row in found if _has_no_key(row.findings, row.key_algorithm)
    ]
    if without_key:
        op.get_bind().execute(
            sa.update(rows).where(rows.c.id == sa.bindparam("of_id")).values(not_servable="no_key"),
            without_key,
        )


def _has_no_key(findings: str, key_algorithm: str | None) -> bool:
    codes = {one["code"] for one in json.loads(findings) if one["severity"] == "error"}
    algorithm = key_algorithm or ""
    is_unread_rsa = algorithm.startswith("RSA-") and algorithm not in _RSA_THAT_WAS_READ
    return bool(codes & _NO_KEY) or ("key_weak" in codes and is_unread_rsa)
