"""quotas for each user

Revision 0017, after 0016. Users' rows count what users store, so that a quota costs an upload no
statement. What is stored already is counted here.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COUNTERS = ("certificate_count", "hostname_count", "version_count", "stored_bytes")
_TEXTS = ("body", "chain", "chain_pem", "findings", "hostnames", "subject", "issuer")


def upgrade() -> None:
    for counter in _COUNTERS:
        op.add_column(
            "users",
            sa.Column(counter, sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        )
    op.add_column("users", sa.Column("quotas", sa.Text()))
    op.execute(_counted(op.get_bind().dialect.name))

    op.add_column("kept_answers", sa.Column("user_id", _ID))
    op.create_index("ix_kept_answers_user_id_kept_at", "kept_answers", ["user_id", "kept_at"])
    for column in ("token_id", "user_id"):
        op.add_column("terminators", sa.Column(column, _ID))
        op.create_index(f"ix_terminators_{column}", "terminators", [column])


def downgrade() -> None:
    for column in ("user_id", "token_id"):
        op.drop_index(f"ix_terminators_{column}", table_name="terminators")
        op.drop_column("terminators", column)
    op.drop_index("ix_kept_answers_user_id_kept_at", table_name="kept_answers")
    op.drop_column("kept_answers", "user_id")
    op.drop_column("users", "quotas")
    for counter in reversed(_COUNTERS):
        op.drop_column("users", counter)


def _counted(dialect: str) -> str:
    def size(column: str) -> str:
        # SQLite counts the characters of a text, but the bytes of a BLOB.
        bytes_of = (
            f"octet_length({column})"
            if dialect == "postgresql"
            else (f"length(CAST({column} AS BLOB))")
        )
        return f"coalesce({bytes_of}, 0)"

    texts = " + ".join(map(size, _TEXTS))
    versions = "certificate_versions v JOIN certificates c ON c.id = v.certificate_id"
    keys = "private_keys k JOIN certificates c ON c.id = k.certificate_id"
    # The names of a version that waits for its cutover count, too.
    array = "CAST(v.hostnames AS JSON)" if dialect == "postgresql" else "v.hostnames"
    of_versions = " + ".join(size(f"v.{column}") for column in _TEXTS)
    return f"""
UPDATE users SET
    certificate_count = (SELECT count(*) FROM certificates c WHERE c.user_id = users.id),
    hostname_count =
        (SELECT count(*) FROM certificate_hostnames h WHERE h.user_id = users.id)
        + (SELECT coalesce(sum(json_array_length({array})), 0) FROM {versions}
            WHERE c.user_id = users.id AND v.version = c.version + 1),
    version_count = (SELECT count(*) FROM {versions} WHERE c.user_id = users.id),
    stored_bytes =
        (SELECT coalesce(sum({texts}), 0) FROM certificates c WHERE c.user_id = users.id)
        + (SELECT coalesce(sum({of_versions}), 0) FROM {versions} WHERE c.user_id = users.id)
        + (SELECT coalesce(sum({size("k.sealed")}), 0) FROM {keys} WHERE c.user_id = users.id)
"""  # noqa: S608 - of the names above alone
