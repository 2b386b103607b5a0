"""what is served is stored once

Revision 0020, after 0019. The certificates that are served are usually those that were uploaded.
Then they are stored as `body` alone, and `served_pem` is empty. PostgreSQL stores certificates in
DER instead of PEM; what is no such text is stored in UTF-8. SQLite does so for what is uploaded
from now on. Users' counters of stored bytes are counted again.
"""

import base64
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ("certificates", "certificate_versions")
_COLUMNS = ("body", "chain", "served_pem")
_RENAME = "ALTER TABLE {table} RENAME COLUMN {before} TO {after}"
_SHORTEN = "UPDATE {table} SET served_pem = '' WHERE served_pem = body"
_RESTORE = "UPDATE {table} SET served_pem = body WHERE served_pem = ''"
# Nothing but certificates in PEM, as the service writes them, of 256 bytes at least.
_PEM_TO_DER = r"""
CREATE FUNCTION pg_temp.der(pem text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE
        WHEN pem = string_agg(
            E'-----BEGIN CERTIFICATE-----\n'
            || regexp_replace(
                translate(encode(der, 'base64'), E'\n', ''), '(.{1,64})', E'\\1\n', 'g')
            || E'-----END CERTIFICATE-----\n', '' ORDER BY place)
            AND bool_and(CASE
                WHEN length(der) < 256 OR substr(der, 1, 2) <> '\x3082' THEN false
                ELSE length(der) = 4 + 256 * get_byte(der, 2) + get_byte(der, 3)
            END)
        THEN string_agg(der, '' ORDER BY place)
        ELSE convert_to(pem, 'UTF8')
    END
    FROM (
        SELECT place, CASE WHEN mod(length(translate(one[1], E'\n', '')), 4) = 0
            THEN decode(one[1], 'base64') ELSE '\x' END AS der
        FROM regexp_matches(
            pem,
            '-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/\n]+={0,2}\n)-----END CERTIFICATE-----\n',
            'g'
        ) WITH ORDINALITY AS found (one, place)
    ) AS blocks
$$
"""
_DER_TO_PEM = r"""
CREATE FUNCTION pg_temp.pem(stored bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    made text := '';
    size integer;
BEGIN
    IF substr(stored, 1, 2) <> '\x3082' THEN
        RETURN convert_from(stored, 'UTF8');
    END IF;
    WHILE length(stored) > 0 LOOP
        size := 4 + 256 * get_byte(stored, 2) + get_byte(stored, 3);
        made := made || E'-----BEGIN CERTIFICATE-----\n'
            || regexp_replace(
                translate(encode(substr(stored, 1, size), 'base64'), E'\n', ''),
                '(.{1,64})', E'\\1\n', 'g')
            || E'-----END CERTIFICATE-----\n';
        stored := substr(stored, size + 1);
    END LOOP;
    RETURN made;
END $$
"""
_TEXTS = (*_COLUMNS, "findings", "hostnames", "subject", "issuer")


def upgrade() -> None:
    _see_all_rows()
    for table in _TABLES:
        op.execute(_RENAME.format(table=table, before="chain_pem", after="served_pem"))
        op.execute(_SHORTEN.format(table=table))
    if _is_postgresql():
        op.execute(_PEM_TO_DER)
        _change_types("bytea", "der")
        op.execute("DROP FUNCTION pg_temp.der(text)")
    op.execute(_counted(_TEXTS))


def downgrade() -> None:
    _see_all_rows()
    if _is_postgresql():
        op.execute(_DER_TO_PEM)
        _change_types("text", "pem")
        op.execute("DROP FUNCTION pg_temp.pem(bytea)")
    elif not context.is_offline_mode():
        _write_pem()
    for table in _TABLES:
        op.execute(_RESTORE.format(table=table))
        op.execute(_RENAME.format(table=table, before="served_pem", after="chain_pem"))
    op.execute(_counted(["chain_pem" if one == "served_pem" else one for one in _TEXTS]))


def _see_all_rows() -> None:
    """As in 0006: the owner of the tables sees the rows of a tenant alone, unless it says this."""
    if _is_postgresql():
        op.execute("SELECT set_config('cc.tenant', '*', true)")


def _is_postgresql() -> bool:
    return bool(op.get_bind().dialect.name == "postgresql")


def _change_types(name: str, function: str) -> None:
    """Rewrites each table once."""
    for table in _TABLES:
        changes = (
            f"ALTER COLUMN {column} TYPE {name} USING pg_temp.{function}({column})"
            for column in _COLUMNS
        )
        op.execute(f"ALTER TABLE {table} {', '.join(changes)}")


def _write_pem() -> None:
    """SQLite has no base64."""
    connection = op.get_bind()
    for name in _TABLES:
        table = sa.table(name, sa.column("id"), *map(sa.column, _COLUMNS))
        for column in _COLUMNS:
            stored = table.c[column]
            found = connection.execute(
                sa.select(table.c.id, stored).where(sa.func.typeof(stored) == "blob")
            )
            for number, der in found.all():
                values = {column: _pem_of(der)}
                connection.execute(table.update().where(table.c.id == number).values(values))


def _pem_of(der: bytes) -> str:
    text = ""
    while der:
        size = 4 + int.from_bytes(der[2:4], "big")
        lines = base64.b64encode(der[:size]).decode()
        wrapped = "".join(f"{lines[at : at + 64]}\n" for at in range(0, len(lines), 64))
        text += f"-----BEGIN CERTIFICATE-----\n{wrapped}-----END CERTIFICATE-----\n"
        der = der[size:]
    return text


def _counted(texts: Sequence[str]) -> str:
    def size(column: str) -> str:
        # SQLite counts the characters of a text, but the bytes of a BLOB.
        measured = (
            f"octet_length({column})" if _is_postgresql() else f"length(CAST({column} AS BLOB))"
        )
        return f"coalesce({measured}, 0)"

    of_certificates = " + ".join(size(f"c.{one}") for one in texts)
    of_versions = " + ".join(size(f"v.{one}") for one in texts)
    return f"""
UPDATE users SET stored_bytes =
    (SELECT coalesce(sum({of_certificates}), 0) FROM certificates c WHERE c.user_id = users.id)
    + (SELECT coalesce(sum({of_versions}), 0)
        FROM certificate_versions v JOIN certificates c ON c.id = v.certificate_id
        WHERE c.user_id = users.id)
    + (SELECT coalesce(sum({size("k.sealed")}), 0)
        FROM private_keys k JOIN certificates c ON c.id = k.certificate_id
        WHERE c.user_id = users.id)
"""  # noqa: S608 - of the names above alone
