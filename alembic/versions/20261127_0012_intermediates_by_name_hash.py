"""intermediates by name hash

Revision 0012, after 0011. Intermediates are found by OpenSSL's hash of their subject, which is the
same for names that differ only in string type, case or blanks (RFC 5280, 7.1).
"""

import hashlib
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from alembic import context, op
from cryptography import x509
from OpenSSL import crypto

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# PostgreSQL 18 names these constraints after their columns; earlier versions do not name them.
_RENAME_NOT_NULL = """
DO $$ BEGIN
    IF EXISTS (
        SELECT 1 FROM pg_constraint
        WHERE conrelid = 'intermediates'::regclass AND conname = 'intermediates_{old}_not_null'
    ) THEN
        ALTER TABLE intermediates
            RENAME CONSTRAINT intermediates_{old}_not_null TO intermediates_{new}_not_null;
    END IF;
END $$
"""


def upgrade() -> None:
    _rename("subject_sha256", "subject_hash", _name_hash)


def downgrade() -> None:
    _rename("subject_hash", "subject_sha256", _name_digest)


def _rename(old: str, new: str, hashed: Callable[[bytes], str]) -> None:
    op.drop_index(f"ix_intermediates_{old}", table_name="intermediates")
    op.execute(f"ALTER TABLE intermediates RENAME COLUMN {old} TO {new}")
    if context.get_context().dialect.name == "postgresql":
        op.execute(_RENAME_NOT_NULL.format(old=old, new=new))
    if not context.is_offline_mode():
        _fill(new, hashed)
    op.create_index(f"ix_intermediates_{new}", "intermediates", [new])


def _fill(column: str, hashed: Callable[[bytes], str]) -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # As in 0006: the rows of all users.
        connection.execute(sa.text("SELECT set_config('cc.tenant', '*', true)"))
    table = sa.table("intermediates", *map(sa.column, ("id", "der", column)))
    for number, der in connection.execute(sa.select(table.c.id, table.c.der)).all():
        try:
            values = {column: hashed(der)}
        except (ValueError, crypto.Error):
            # One that this library cannot read. It completes no chain any more.
            connection.execute(table.delete().where(table.c.id == number))
        else:
            connection.execute(table.update().where(table.c.id == number).values(values))


def _name_hash(der: bytes) -> str:
    return f"{crypto.load_certificate(crypto.FILETYPE_ASN1, der).subject_name_hash():08x}"


def _name_digest(der: bytes) -> str:
    subject = x509.load_der_x509_certificate(der).subject
    return hashlib.sha256(subject.public_bytes()).hexdigest()
