"""secrets, latches and exports

Revision 0018, after 0017. The database has a secret of its own, from which keys are derived. A
latch cannot be removed by the role of the service. Deletions of keys are counted until the files of
SQLite have nothing of them. The exports of the audit's heads are numbered.
"""

from collections.abc import Iterator, Sequence
from secrets import token_bytes

import sqlalchemy as sa
from alembic import context, op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_LATCH = "'served_with_credentials'"
_TIME = sa.DateTime(timezone=True)
_KEY_COLUMNS = {
    "private_keys": "sealed",
    "unsealed_keys": "private_key",
    "user_keys": "wrapped",
    "webhook_secrets": "wrapped",
}
# `alembic upgrade --sql` writes no secret of this machine: the database makes it.
_INSERT = "INSERT INTO service_secrets (name, value) VALUES ('database', {value})"
_RANDOM = {
    "sqlite": "randomblob(32)",
    "postgresql": (
        "sha256(convert_to("
        "concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), 'UTF8'))"
    ),
}
_COPY = "INSERT INTO {target} (name, since) SELECT name, since FROM {source} WHERE name = {name}"
_REMOVE = "DELETE FROM {source} WHERE name = {name}"
# The triggers of SQLite, in the same words as the models have them.
_COUNT = (
    "CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN "
    "INSERT INTO key_deletions (id, deleted, erased) VALUES (1, 1, 0) "
    "ON CONFLICT (id) DO UPDATE SET deleted = deleted + 1; END"
)
_KEEP = (
    "CREATE TRIGGER service_latches_{name} BEFORE {event} ON service_latches BEGIN "
    "SELECT RAISE(ABORT, 'A latch stays as it is.'); END"
)


def upgrade() -> None:
    op.create_table(
        "service_latches",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_service_latches"),
    )
    op.create_table(
        "service_secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_service_secrets"),
    )
    op.create_table(
        "key_deletions",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=False),
        sa.Column("erased", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_key_deletions"),
    )
    op.create_table(
        "audit_exports",
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("series", name="pk_audit_exports"),
    )
    _move_latch("service_state", "service_latches")
    _add_secret()
    if context.get_context().dialect.name == "sqlite":
        for statement in _triggers():
            op.execute(statement)


def downgrade() -> None:
    if context.get_context().dialect.name == "sqlite":
        for table in _KEY_COLUMNS:
            op.execute(f"DROP TRIGGER {table}_deleted")
            op.execute(f"DROP TRIGGER {table}_updated")
        op.execute("DROP TRIGGER service_latches_deleted")
        op.execute("DROP TRIGGER service_latches_updated")
    _move_latch("service_latches", "service_state")
    for table in ("audit_exports", "key_deletions", "service_secrets", "service_latches"):
        op.drop_table(table)


def _move_latch(source: str, target: str) -> None:
    for statement in (_COPY, _REMOVE):
        op.execute(statement.format(source=source, target=target, name=_LATCH))


def _add_secret() -> None:
    if context.is_offline_mode():
        op.execute(_INSERT.format(value=_RANDOM[context.get_context().dialect.name]))
    else:
        made = sa.text(_INSERT.format(value=":value"))
        op.get_bind().execute(made, {"value": token_bytes(32)})


def _triggers() -> Iterator[str]:
    for table, column in _KEY_COLUMNS.items():
        for name, event in (("deleted", "DELETE"), ("updated", f"UPDATE OF {column}")):
            yield _COUNT.format(table=table, name=name, event=event)
    for name, event in (("deleted", "DELETE"), ("updated", "UPDATE")):
        yield _KEEP.format(name=name, event=event)
