"""a second wall between users, on PostgreSQL

Revision 0006, after 0005. Row-level security: a connection sees the rows of the user whom
`cc.tenant` names, all of them where it is `*`, and none where it is not set. It is forced, so that
it holds for the owner of the tables too; it holds for no superuser and nobody with BYPASSRLS.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Not an OR of the two: `*` is no number, and the order in which an OR is evaluated is not fixed.
_MINE = """CASE WHEN current_setting('cc.tenant', true) = '*' THEN true
ELSE {column} = NULLIF(current_setting('cc.tenant', true), '')::bigint END"""
_OF_CERTIFICATE = "EXISTS (SELECT 1 FROM certificates WHERE certificates.id = certificate_id)"

_ROWS = {
    "users": _MINE.format(column="id"),
    "certificates": _MINE.format(column="user_id"),
    "certificate_hostnames": _MINE.format(column="user_id"),
    "certificate_versions": _OF_CERTIFICATE,
    "private_keys": _OF_CERTIFICATE,
    "unsealed_keys": _OF_CERTIFICATE,
    "user_keys": _MINE.format(column="user_id"),
    "tokens": _MINE.format(column="user_id"),
    # A user's chain has its id.
    "audit": _MINE.format(column="chain"),
    "audit_heads": _MINE.format(column="chain"),
    # Authorities' certificates of public chains belong to nobody, and complete everybody's.
    "intermediates": f"user_id IS NULL OR {_MINE.format(column='user_id')}",
    "hostname_claims": _MINE.format(column="user_id"),
}


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, mine in _ROWS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({mine})")
    # Whoever claims a name must see that it is another's. Whose, no answer says.
    op.execute("CREATE POLICY claimed ON hostname_claims FOR SELECT USING (true)")


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("DROP POLICY claimed ON hostname_claims")
    for table in _ROWS:
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
