"""what is served is stored once

Revision 0020, after 0019. The certificates that are served are usually those that were uploaded.
Then they are stored as `body` alone, and `served_pem` is empty. Users' counters of stored bytes
shrink by what is removed.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ("certificates", "certificate_versions")
_RENAME = "ALTER TABLE {table} RENAME COLUMN {before} TO {after}"
_SHORTEN = "UPDATE {table} SET served_pem = '' WHERE served_pem = body"
_RESTORE = "UPDATE {table} SET served_pem = body WHERE served_pem = ''"
_COUNT = (
    "UPDATE users SET stored_bytes = stored_bytes {sign} "
    "(SELECT coalesce(sum({size}), 0) {source}) WHERE EXISTS (SELECT 1 {source})"
)
_OWNERS = {
    "certificates": "certificates c WHERE c.user_id = users.id",
    "certificate_versions": (
        "certificate_versions v JOIN certificates c ON c.id = v.certificate_id"
        " WHERE c.user_id = users.id"
    ),
}


def upgrade() -> None:
    _see_all_rows()
    for table in _TABLES:
        op.execute(_RENAME.format(table=table, before="chain_pem", after="served_pem"))
        _count(table, "-", "served_pem = {body}")
        op.execute(_SHORTEN.format(table=table))


def downgrade() -> None:
    _see_all_rows()
    for table in _TABLES:
        _count(table, "+", "served_pem = ''")
        op.execute(_RESTORE.format(table=table))
        op.execute(_RENAME.format(table=table, before="served_pem", after="chain_pem"))


def _see_all_rows() -> None:
    """As in 0006: the owner of the tables sees the rows of a tenant alone, unless it says this."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SELECT set_config('cc.tenant', '*', true)")


def _count(table: str, sign: str, condition: str) -> None:
    """Adds to users' counters, or subtracts, the bytes of the bodies that are stored twice."""
    of = "c" if table == "certificates" else "v"
    body = f"{of}.body"
    size = (
        f"octet_length({body})"
        if op.get_bind().dialect.name == "postgresql"
        else f"length(CAST({body} AS BLOB))"
    )
    condition = f"{of}.{condition.format(body=body)}"
    source = f"FROM {_OWNERS[table]} AND {condition}"
    # Users of whom nothing changes are left alone.
    op.execute(_COUNT.format(sign=sign, size=size, source=source))
