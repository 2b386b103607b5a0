"""certificates are understood

Revision 0002, after 0001. What has a default can be inserted by a service of revision 0001 as well,
so that the two can run side by side during an upgrade.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LONG_AGO = "1970-01-01 00:00:00"


def _content() -> list[sa.Column[object]]:
    """The columns of a version that revision 0001 did not have."""
    return [
        sa.Column("chain", sa.Text()),
        sa.Column("chain_pem", sa.Text()),
        sa.Column("trust", sa.Text(), server_default="unreadable", nullable=False),
        sa.Column("findings", sa.Text(), server_default="[]", nullable=False),
        sa.Column("subject", sa.Text()),
        sa.Column("issuer", sa.Text()),
        sa.Column("serial", sa.Text()),
        sa.Column("hostnames", sa.Text(), server_default="[]", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True)),
        sa.Column("not_after", sa.DateTime(timezone=True)),
        sa.Column("fingerprint_sha256", sa.Text()),
        sa.Column("spki_sha256", sa.Text()),
        sa.Column("key_algorithm", sa.Text()),
        sa.Column("signature_algorithm", sa.Text()),
        sa.Column("updated_at", sa.DateTime(timezone=True)),
    ]


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=_LONG_AGO, nullable=False)


def _belongs_to(column: str, owner: str, table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{owner}.id"], name=f"fk_{table}_{column}_{owner}", ondelete="CASCADE"
    )


def upgrade() -> None:
    op.add_column("users", _time("statuses_as_of"))
    op.add_column("users", _time("statuses_change_at"))
    op.add_column(
        "certificates",
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
    )
    for column in _content():
        op.add_column("certificates", column)
    for name, columns in {
        "ix_certificates_user_id_fingerprint_sha256": ["user_id", "fingerprint_sha256"],
        "ix_certificates_user_id_not_after": ["user_id", "not_after"],
        "ix_certificates_user_id_trust": ["user_id", "trust", "id"],
    }.items():
        op.create_index(name, "certificates", columns)
    op.create_table(
        "certificate_versions",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("certificate_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        *_content(),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_certificate_versions"),
        _belongs_to("certificate_id", "certificates", "certificate_versions"),
        sa.UniqueConstraint(
            "certificate_id", "version", name="uq_certificate_versions_certificate_id_version"
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "certificate_hostnames",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("certificate_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint(
            "user_id", "hostname", "certificate_id", name="pk_certificate_hostnames"
        ),
        _belongs_to("user_id", "users", "certificate_hostnames"),
        _belongs_to("certificate_id", "certificates", "certificate_hostnames"),
    )
    op.create_index(
        "ix_certificate_hostnames_certificate_id", "certificate_hostnames", ["certificate_id"]
    )
    op.create_table(
        "hostname_claims",
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("hostname", name="pk_hostname_claims"),
        _belongs_to("user_id", "users", "hostname_claims"),
    )
    op.create_index("ix_hostname_claims_user_id", "hostname_claims", ["user_id"])
    op.create_table(
        "intermediates",
        sa.Column("id", _ID, sa.Identity(always=True), nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("subject_sha256", sa.Text(), nullable=False),
        sa.Column("fingerprint_sha256", sa.Text(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_intermediates"),
        _belongs_to("user_id", "users", "intermediates"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_intermediates_subject_sha256", "intermediates", ["subject_sha256"])
    op.create_index(
        "uq_intermediates_fingerprint_sha256",
        "intermediates",
        ["fingerprint_sha256"],
        unique=True,
        postgresql_where=sa.text("user_id IS NULL"),
        sqlite_where=sa.text("user_id IS NULL"),
    )
    op.create_index(
        "uq_intermediates_user_id_fingerprint_sha256",
        "intermediates",
        ["user_id", "fingerprint_sha256"],
        unique=True,
        postgresql_where=sa.text("user_id IS NOT NULL"),
        sqlite_where=sa.text("user_id IS NOT NULL"),
    )


def downgrade() -> None:
    for table in (
        "intermediates",
        "hostname_claims",
        "certificate_hostnames",
        "certificate_versions",
    ):
        op.drop_table(table)
    for index in ("fingerprint_sha256", "not_after", "trust"):
        op.drop_index(f"ix_certificates_user_id_{index}", "certificates")
    for column in reversed(["version", *(column.name for column in _content())]):
        op.drop_column("certificates", column)
    op.drop_column("users", "statuses_change_at")
    op.drop_column("users", "statuses_as_of")
