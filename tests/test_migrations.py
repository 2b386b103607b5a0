"""The migrations end in the models' schema, from either side, on databases of their own."""

import functools
import itertools
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from cryptography.hazmat.primitives.serialization import Encoding

from customer_certificates.config import Config
from customer_certificates.gateways.database import Database, migration_engine
from customer_certificates.gateways.database.schema import SchemaError, head, migrate, require_head
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.models import (
    AS_BODY,
    Base,
    Certificate,
    CertificateHostname,
    CertificateVersion,
    PrivateKey,
    User,
    stored_size,
)
from customer_certificates.pki.chain.verification import name_hash
from customer_certificates.services.quotas.usage import COUNTERS, Usage

from .conftest import Backend
from .factories import a_pair
from .pki.authority import an_authority, name_of
from .service import run, run_forked
from .tables import add_certificates, add_users

_ROOT = Path(__file__).parents[1]
_ALEMBIC = str(Path(sys.executable).with_name("alembic"))
_HEAD = "0021"
_numbers = itertools.count()


class Empty:
    """A database that nothing is in yet, or a copy of another one."""

    url: str
    file: Path

    def __init__(self, backend: Backend, folder: Path, template: "Empty | None" = None) -> None:
        name = f"migrations_{next(_numbers)}"
        data = folder / f"data-{backend.name}-{name}"
        self.settings = {"CC_DATA_DIR": str(data)}
        self.is_postgresql = backend.name == "postgresql"
        if template and not self.is_postgresql:
            shutil.copytree(template.file.parent, data)
        if self.is_postgresql:
            url = sa.make_url(backend.owner_url)
            name = f"{url.database}_{name}"
            engine = migration_engine(backend.owner_url)
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name}"))
                copied = f" TEMPLATE {sa.make_url(template.url).database}" if template else ""
                connection.execute(sa.text(f"CREATE DATABASE {name}{copied}"))
            engine.dispose()
            url = url.set(database=name)
            self.settings["CC_DATABASE_URL"] = url.render_as_string(hide_password=False)
        self.url = Config.from_environ({"CC_ENV": "tst", **self.settings}).database_url
        self._owner_url = self.url
        self.file = data / "customer-certificates.sqlite3"

    def execute(self, *statements: str) -> None:
        """Runs statements behind the migrations' back."""
        engine = migration_engine(self.url)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def rows(self, statement: str) -> list[Any]:
        """The first column of what a query returns."""
        engine = migration_engine(self.url)
        with engine.connect() as connection:
            found = list(connection.exec_driver_sql(statement).scalars())
        engine.dispose()
        return found

    def give_to_an_owner(self) -> None:
        """Has a role migrate it that owns its tables and is no superuser, as in production: it is
        subject to row-level security."""
        if not self.is_postgresql:
            return
        url = sa.make_url(self.url)
        role = f"{url.database}_owner"
        self.execute(
            f"DROP ROLE IF EXISTS {role}",
            f"CREATE ROLE {role} LOGIN PASSWORD '{role}'",
            f"ALTER SCHEMA public OWNER TO {role}",
            _GIVE_TABLES.format(role=role),
        )
        owner = url.set(username=role, password=role)
        self._owner_url = owner.render_as_string(hide_password=False)

    def upgrade(self, revision: str) -> None:
        """Brings it up to a revision."""
        command.upgrade(self._alembic(), revision)

    def downgrade(self, revision: str) -> None:
        """Brings it down to a revision."""
        command.downgrade(self._alembic(), revision)

    def _alembic(self) -> AlembicConfig:
        return AlembicConfig(_ROOT / "alembic.ini", attributes={"database_url": self._owner_url})

    def alembic(
        self, *arguments: str, project: Path = _ROOT, succeeds: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs alembic in `project`; it knows the database through the service's settings alone."""
        ended = run_forked([_ALEMBIC, *arguments], self.settings, folder=project)
        assert (ended.returncode == 0) == succeeds, ended.stderr
        return ended

    def schema(self) -> list[Any]:
        """All that defines its tables, in the database's own words."""
        queries = _POSTGRESQL_SCHEMA if self.is_postgresql else _SQLITE_SCHEMA
        engine = migration_engine(self.url)
        with engine.connect() as connection:
            found = [
                tuple(row) for query in queries for row in connection.execute(sa.text(query)).all()
            ]
        engine.dispose()
        return sorted(tuple(_lines(value) for value in row) for row in found)


_GIVE_TABLES = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE 'ALTER TABLE ' || name || ' OWNER TO {role}';
    END LOOP;
END $$
"""

AtRevision = Callable[[str], Empty]

# Of SQLite the statements themselves: their order of columns and constraints is no difference.
_SQLITE_SCHEMA = [
    """SELECT name, sql FROM sqlite_master
        WHERE name NOT LIKE 'sqlite_%' AND tbl_name != 'alembic_version'"""
]
_POSTGRESQL_SCHEMA = [
    """SELECT relname, relkind, reloptions FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic_version%'""",
    """SELECT table_name, column_name, data_type, is_nullable, column_default, identity_generation
         FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name != 'alembic_version'""",
    """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic_version%'""",
    """SELECT indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename != 'alembic_version'""",
]


def _lines(value: Any) -> str:
    """SQLite writes a column that was added at the end of the statement, and of its line: before
    the last parenthesis, which has a line of its own in other statements."""
    text = str(value)
    if text.startswith("CREATE TABLE"):
        text = text.rstrip().removesuffix(")").rstrip()
    return "\n".join(sorted(part for part in re.split(r"[,\s]*\n\s*|,\s+", text) if part))


@pytest.fixture
def empty(backend: Backend, folder: Path) -> Empty:
    return Empty(backend, folder)


@pytest.fixture(scope="module")
def at_revision(backend: Backend, folder: Path) -> AtRevision:
    """Gives a new database at a revision. Each is migrated once, and copied from then on."""

    @functools.cache
    def template(revision: str) -> Empty:
        database = Empty(backend, folder)
        database.upgrade(revision)
        return database

    return lambda revision: Empty(backend, folder, template(revision))


@pytest.fixture
def at_head(at_revision: AtRevision) -> Empty:
    return at_revision("head")


@pytest.fixture(scope="module")
def models_schema(backend: Backend, folder: Path) -> list[Any]:
    """The schema as the models have it, made without migrations."""
    database = Empty(backend, folder)
    engine = migration_engine(database.url)
    Base.metadata.create_all(engine)
    engine.dispose()
    return database.schema()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the migrations, to add others to."""
    shutil.copytree(_ROOT / "alembic", tmp_path / "alembic")
    shutil.copy(_ROOT / "alembic.ini", tmp_path)
    return tmp_path


def test_the_name_of_the_newest_file_has_the_head() -> None:
    scripts = ScriptDirectory(str(_ROOT / "alembic"))

    assert scripts.get_heads() == [head()]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("code", "algorithm", "not_servable"),
    [
        ("key_mismatch", "ECDSA-P-256", "no_key"),
        ("key_invalid", "RSA-2048", "no_key"),
        ("key_weak", "RSA-1024", "no_key"),
        ("key_weak", "RSA-2048", None),
        ("key_usage_invalid", "RSA-2048", None),
    ],
)
def test_keys_that_could_not_be_used_are_told_from_findings(
    at_revision: AtRevision, code: str, algorithm: str, not_servable: str | None
) -> None:
    database = at_revision("0009")
    now = "'2026-11-25 12:00:00+00'" if database.is_postgresql else "'2026-11-25 12:00:00'"
    allow = ["SELECT set_config('cc.tenant', '*', true)"] if database.is_postgresql else []
    database.execute(
        *allow,
        "INSERT INTO users (name, email, email_key, password_hash, certificates_revision,"
        f" created_at) VALUES ('A', 'a@b.c', 'a@b.c', 'x', '', {now})",
        "INSERT INTO certificates (user_id, active, body, created_at, findings, key_algorithm)"
        f""" SELECT id, true, 'PEM', {now}, '[{{"code":"{code}"}}]', '{algorithm}' FROM users""",
    )
    database.upgrade("head")
    engine = migration_engine(database.url)
    with engine.begin() as connection:
        for statement in allow:
            connection.exec_driver_sql(statement)
        found = connection.execute(sa.text("SELECT not_servable FROM certificates")).scalar_one()
    engine.dispose()
    assert found == not_servable


def test_the_head_is_what_the_models_say(at_head: Empty, models_schema: list[Any]) -> None:
    assert at_head.schema() == models_schema
    described = str(models_schema)
    assert "ix_certificates_user_id_id_active" in described
    assert re.search(r"WHERE \(?active", described)
    if at_head.is_postgresql:
        assert "toast_tuple_target=8160" in described
    else:
        assert described.count("AUTOINCREMENT") == 12


def test_alembic_finds_no_difference_between_head_and_models(at_head: Empty) -> None:
    engine = migration_engine(at_head.url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_down_leaves_nothing_and_up_again_is_the_same(
    at_head: Empty, models_schema: list[Any]
) -> None:
    at_head.execute(
        "INSERT INTO users (name, email, email_key, password_hash, certificates_revision,"
        " created_at) VALUES ('a', 'a', 'a', 'a', '0123456789abcdef', '2026-01-01')"
    )

    at_head.downgrade("base")
    assert at_head.schema() == []
    with pytest.raises(SchemaError, match="at revision none"):
        require_head(at_head.url)

    at_head.upgrade("head")
    assert at_head.schema() == models_schema
    require_head(at_head.url)


def test_intermediates_are_found_by_the_hash_of_their_name(at_head: Empty) -> None:
    der = an_authority("Issuing", "Root").public_bytes(Encoding.DER)
    literal = f"'\\x{der.hex()}'" if at_head.is_postgresql else f"X'{der.hex()}'"
    at_head.execute(
        "INSERT INTO intermediates (subject_hash, fingerprint_sha256, der)"
        f" VALUES ('{name_hash(name_of('issuing').public_bytes())}', 'f', {literal})"
    )
    before = at_head.rows("SELECT subject_hash FROM intermediates")

    at_head.downgrade("0009")
    (digest,) = at_head.rows("SELECT subject_sha256 FROM intermediates")
    at_head.upgrade("head")

    assert digest == sha256(name_of("Issuing").public_bytes()).hexdigest()
    assert at_head.rows("SELECT subject_hash FROM intermediates") == before


def test_an_intermediate_that_cannot_be_read_stops_no_migration(at_head: Empty) -> None:
    literal = "'\\x30'" if at_head.is_postgresql else "X'30'"
    for revision, column in (("0011", "subject_hash"), ("head", "subject_sha256")):
        at_head.execute(
            f"INSERT INTO intermediates ({column}, fingerprint_sha256, der)"
            f" VALUES ('a', 'f', {literal})"
        )
        move = at_head.upgrade if revision == "head" else at_head.downgrade
        move(revision)

        assert at_head.rows("SELECT id FROM intermediates") == []


def test_versions_that_wait_for_a_cutover_are_forgotten_by_earlier_revisions(
    at_revision: AtRevision,
) -> None:
    database = at_revision("0011")
    now = "'2026-11-25 12:00:00+00'" if database.is_postgresql else "'2026-11-25 12:00:00'"
    allow = ["SELECT set_config('cc.tenant', '*', true)"] if database.is_postgresql else []
    keys = "INSERT INTO private_keys (certificate_id, version, sealed)"
    database.execute(
        *allow,
        "INSERT INTO users (name, email, email_key, password_hash, certificates_revision,"
        f" created_at) VALUES ('A', 'a@b.c', 'a@b.c', 'x', '', {now})",
        "INSERT INTO certificates (user_id, active, body, created_at)"
        f" SELECT id, true, 'PEM', {now} FROM users",
        f"{keys} SELECT id, 1, 'x' FROM certificates",
        f"{keys} SELECT id, 2, 'x' FROM certificates",
    )
    database.downgrade("0010")
    engine = migration_engine(database.url)
    with engine.begin() as connection:
        for statement in allow:
            connection.exec_driver_sql(statement)
        found = connection.execute(sa.text("SELECT version FROM private_keys")).scalars().all()
    engine.dispose()
    assert found == [1]


def test_mails_to_existing_addresses_wait_until_these_are_verified(at_revision: AtRevision) -> None:
    database = at_revision("0013")
    now = "'2026-11-25 12:00:00+00'" if database.is_postgresql else "'2026-11-25 12:00:00'"
    allow = ["SELECT set_config('cc.tenant', '*', false)"] if database.is_postgresql else []
    notice = "INSERT INTO expiry_notices (user_id, certificate_id, version, threshold, at, mail_due"
    database.execute(
        *allow,
        "INSERT INTO users (name, email, email_key, password_hash, certificates_revision,"
        f" created_at) VALUES ('A', 'a@b.c', 'a@b.c', 'x', '', {now})",
        "INSERT INTO certificates (user_id, active, body, created_at)"
        f" SELECT id, true, 'PEM', {now} FROM users",
        f"{notice}) SELECT user_id, id, 1, '30d', {now}, NULL FROM certificates",
        f"{notice}) SELECT user_id, id, 1, '14d', {now}, {now} FROM certificates",
    )

    def waiting(column: str) -> list[str]:
        engine = migration_engine(database.url)
        with engine.begin() as connection:
            for statement in allow:
                connection.exec_driver_sql(statement)
            query = f"SELECT threshold FROM expiry_notices WHERE {column}"
            found = connection.execute(sa.text(query)).scalars().all()
        engine.dispose()
        return list(found)

    database.upgrade("head")
    assert (waiting("mail_due IS NOT NULL"), waiting("mail_held")) == ([], ["14d"])
    database.downgrade("0013")
    assert waiting("mail_due IS NOT NULL") == ["14d"]


def test_tokens_are_a_passwords_unless_somebody_else_made_them(at_revision: AtRevision) -> None:
    database = at_revision("0013")
    now = "'2026-11-25 12:00:00+00'" if database.is_postgresql else "'2026-11-25 12:00:00'"
    allow = ["SELECT set_config('cc.tenant', '*', false)"] if database.is_postgresql else []
    entry = (
        "INSERT INTO audit (chain, seq, at, actor_kind, action, object, outcome, request_id, peer,"
        " detail, prev_hash, hash) SELECT user_id, id, "
        f"{now}, '%s', 'token.create', '/tokens/' || id, 'done', '', '', '', '', '' FROM tokens"
        " WHERE name = '%s'"
    )
    database.execute(
        *allow,
        "INSERT INTO users (name, email, email_key, password_hash, certificates_revision,"
        f" created_at) VALUES ('A', 'a@b.c', 'a@b.c', 'x', '', {now})",
        *(
            "INSERT INTO tokens (kind, user_id, name, scopes, secret_sha256, created_at,"
            f" expires_at) SELECT 'user', id, '{name}', '', 'x', {now}, {now} FROM users"
            for name in ("by password", "by operator", "unknown")
        ),
        "INSERT INTO tokens (kind, name, scopes, secret_sha256, created_at, expires_at)"
        f" VALUES ('operator', 'an operator', '', 'x', {now}, {now})",
        entry % ("user", "by password"),
        entry % ("operator", "by operator"),
    )
    database.upgrade("head")

    engine = migration_engine(database.url)
    with engine.begin() as connection:
        for statement in allow:
            connection.exec_driver_sql(statement)
        query = sa.text("SELECT name FROM tokens WHERE by_password ORDER BY id")
        assert connection.execute(query).scalars().all() == ["by password", "unknown"]
    engine.dispose()


def test_a_database_that_was_served_with_credentials_stays_locked(at_revision: AtRevision) -> None:
    database = at_revision("0013")
    since = "2026-11-25 12:00:00"
    for name in ("served_with_credentials", "job:another"):
        database.execute(f"INSERT INTO service_state (name, since) VALUES ('{name}', '{since}')")
    for revision, table in (("head", "service_latches"), ("0013", "service_state")):
        move = database.upgrade if revision == "head" else database.downgrade
        move(revision)
        latched = f"SELECT since FROM {table} WHERE name = 'served_with_credentials'"
        (kept,) = database.rows(latched)
        assert str(kept).startswith(since)
    assert database.rows("SELECT name FROM service_state WHERE name = 'job:another'") == [
        "job:another"
    ]


def test_each_database_has_a_secret_of_its_own(backend: Backend, folder: Path) -> None:
    online, offline = Empty(backend, folder), Empty(backend, folder)
    migrate(online.url, online.url)
    written = offline.alembic("upgrade", "head", "--sql").stdout
    if offline.is_postgresql:
        with psycopg.connect(offline.settings["CC_DATABASE_URL"].replace("+psycopg", "")) as one:
            one.execute(written.encode())
    else:
        offline.file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(offline.file)) as file:
            file.executescript(written)
    secrets = [bytes(*one.rows("SELECT value FROM service_secrets")) for one in (online, offline)]
    assert [len(secret) for secret in secrets] == [32, 32]
    assert secrets[0] != secrets[1]


def test_what_users_store_already_is_counted(at_head: Empty) -> None:
    engine = migration_engine(at_head.url)
    one, two = add_users(engine, 2)
    texts: dict[str, Any] = {
        "body": "Prüfkörper",
        "chain": "é",
        "served_pem": "PEM",
        "subject": "CN=ü",
    }
    first, second = add_certificates(engine, one, 2, hostnames='["a.example"]', **texts)
    replaced = {**texts, "certificate_id": first, "hostnames": '["b.example","c.example"]'}
    with engine.begin() as connection:
        contents: dict[Any, list[dict[str, Any]]] = {
            # Version 2 waits for its cutover, version 1 is the present one.
            CertificateVersion: [{**replaced, "version": 2}, {**replaced, "version": 7}],
            CertificateHostname: [
                {"user_id": one, "hostname": "a.example", "certificate_id": certificate_id}
                for certificate_id in (first, second)
            ],
            PrivateKey: [{"certificate_id": first, "version": 1, "sealed": bytes(300)}],
        }
        for kind, rows in contents.items():
            connection.execute(sa.insert(kind), rows)
    at_head.give_to_an_owner()
    at_head.downgrade("0016")
    at_head.upgrade("head")

    with engine.connect() as connection:
        counted = connection.execute(sa.select(User.id, *COUNTERS)).all()
    engine.dispose()
    of_text = len("PrüfkörperéPEMCN=ü".encode())
    names = 2 * len('["a.example"]') + 2 * len('["b.example","c.example"]')
    stored = 4 * of_text + names + 4 * len("[]") + 300
    assert {tuple(row) for row in counted} == {(one, 2, 4, 2, stored), (two, 0, 0, 0, 0)}
    with closing(Database(at_head.url, Metrics(None), threads=1)) as database:
        assert Usage(database).recount() == 0


def test_hostnames_know_whether_their_certificates_are_active(at_head: Empty) -> None:
    engine = migration_engine(at_head.url)
    (owner,) = add_users(engine, 1)
    active, inactive = (
        add_certificates(engine, owner, 1, active=active)[0] for active in (True, False)
    )
    with engine.begin() as connection:
        connection.execute(
            sa.insert(CertificateHostname),
            [
                {"user_id": owner, "hostname": "a.example", "certificate_id": one}
                for one in (active, inactive)
            ],
        )
    engine.dispose()
    at_head.downgrade("0018")
    at_head.upgrade("head")

    rows = "SELECT certificate_id FROM certificate_hostnames WHERE {} active"
    assert at_head.rows(rows.format("")) == [active]
    assert at_head.rows(rows.format("NOT")) == [inactive]


def test_what_is_stored_of_certificates_is_read_as_it_was_sent(at_head: Empty) -> None:
    """Whether they are stored in DER, as a text, or once for body and chain_pem."""
    engine = migration_engine(at_head.url)
    (owner,) = add_users(engine, 1)
    one, other = a_pair().body, a_pair("another.example.com").body
    texts = [
        *("Prüfkörper", one, one + other, one.replace("\n", "\r\n"), one.rstrip(), f" {one}"),
        *(f"{one}-----END CERTIFICATE-----\n", one + "more", one.replace("\n", "", 2)),
        *(_in_pem("AAAA"), _in_pem("AAA"), _in_pem("MIIA"), _in_pem("A=AA"), _in_pem("")),
    ]
    for body in texts:
        for served_pem in (AS_BODY, other, None):
            columns: dict[str, Any] = {"body": body, "chain": body, "served_pem": served_pem}
            (certificate_id,) = add_certificates(engine, owner, 1, **columns)
            with engine.begin() as connection:
                version = {"certificate_id": certificate_id, "version": 2, **columns}
                connection.execute(sa.insert(CertificateVersion), version)
    expected = [(body, body, chain) for body in texts for chain in (body, other, None)]
    assert _contents(engine) == [expected, expected]
    with closing(Database(at_head.url, Metrics(None), threads=1)) as database:
        Usage(database).recount()
    at_head.give_to_an_owner()

    at_head.downgrade("0018")
    for table in ("certificates", "certificate_versions"):
        for column, place in (("body", 0), ("chain", 1), ("chain_pem", 2)):
            found = at_head.rows(f"SELECT {column} FROM {table} ORDER BY id")
            assert found == [row[place] for row in expected], (table, column)
    at_head.upgrade("head")

    assert _contents(engine) == [expected, expected]
    engine.dispose()
    if at_head.is_postgresql:
        sizes = at_head.rows("SELECT octet_length(body) FROM certificates ORDER BY id")
        assert sizes[::3] == [stored_size(text) for text in texts]
    assert at_head.rows("SELECT count(*) FROM certificates WHERE length(served_pem) = 0") == [
        len(texts)
    ]
    with closing(Database(at_head.url, Metrics(None), threads=1)) as database:
        assert Usage(database).recount() == 0


def _in_pem(text: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"


def _contents(engine: sa.Engine) -> list[list[tuple[Any, ...]]]:
    """Body, chain and chain_pem of all certificates, and of all their versions."""
    with engine.connect() as connection:
        return [
            [
                tuple(row)
                for row in connection.execute(
                    sa.select(kind.body, kind.chain, kind.chain_pem).order_by(kind.id)
                )
            ]
            for kind in (Certificate, CertificateVersion)
        ]


def test_alembic_finds_the_database_through_the_settings(
    empty: Empty, models_schema: list[Any]
) -> None:
    empty.alembic("upgrade", "head")

    assert empty.schema() == models_schema
    empty.alembic("check")


def test_alembic_writes_the_migration_that_is_missing(
    at_head: Empty, project: Path, models_schema: list[Any]
) -> None:
    at_head.execute("DROP INDEX ix_certificates_user_id_id_active")
    assert at_head.schema() != models_schema

    at_head.alembic("revision", "--autogenerate", "-m", "what is missing", project=project)
    at_head.alembic("upgrade", "head", project=project)

    assert at_head.schema() == models_schema
    (written,) = project.glob("alembic/versions/*_what_is_missing.py")
    assert re.fullmatch(r"\d{8}_\w+_what_is_missing.py", written.name)
    assert "ix_certificates_user_id_id_active" in written.read_text()
    assert "op.drop_table" not in written.read_text()


def test_several_migrations_at_once_do_it_once(empty: Empty, models_schema: list[Any]) -> None:
    with ThreadPoolExecutor(3) as threads:
        all_ended = list(threads.map(lambda _: run("migrate", empty.settings), range(3)))

    assert [ended.returncode for ended in all_ended] == [0, 0, 0], all_ended
    assert empty.schema() == models_schema
    require_head(empty.url)


def test_a_migration_that_fails_leaves_nothing(empty: Empty, project: Path) -> None:
    (project / "alembic" / "versions" / "20990101_9999_fails.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = '9999', '{_HEAD}'\n"
        "def upgrade() -> None:\n"
        "    op.create_table('half', sa.Column('id', sa.Integer(), primary_key=True))\n"
        "    op.execute('SELECT nonsense FROM nowhere')\n"
    )

    ended = empty.alembic("upgrade", "head", project=project, succeeds=False)

    assert "nowhere" in ended.stderr
    assert empty.schema() == []
    with pytest.raises(SchemaError, match="The database is empty"):
        require_head(empty.url)


def test_a_migration_that_fails_leaves_what_was_there(
    at_head: Empty, project: Path, models_schema: list[Any]
) -> None:
    (project / "alembic" / "versions" / "20990101_9999_fails.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = '9999', '{_HEAD}'\n"
        "def upgrade() -> None:\n"
        "    with op.batch_alter_table('users') as users:\n"
        "        users.add_column(sa.Column('half', sa.Integer()))\n"
        "    raise ValueError('on purpose')\n"
    )

    ended = at_head.alembic("upgrade", "head", project=project, succeeds=False)

    assert "on purpose" in ended.stderr
    assert at_head.schema() == models_schema
    require_head(at_head.url)


def test_a_table_is_rebuilt_without_losing_what_refers_to_it(at_head: Empty, project: Path) -> None:
    """SQLite alters a table by making it anew and dropping the old one, cascades and all."""
    (project / "alembic" / "versions" / "20990101_9999_rebuilds.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = '9999', '{_HEAD}'\n"
        "def upgrade() -> None:\n"
        "    with op.batch_alter_table('users') as users:\n"
        "        users.alter_column('name', existing_type=sa.Text(), nullable=True)\n"
    )
    at_head.execute(
        "INSERT INTO users (name, email, email_key, password_hash, certificates_revision,"
        " created_at) VALUES ('a', 'a@b', 'a@b', 'x', '0', '2026-01-01')",
        "INSERT INTO certificates (user_id, active, body, created_at)"
        " SELECT id, true, 'b', '2026-01-01' FROM users",
    )

    at_head.alembic("upgrade", "head", project=project)

    engine = migration_engine(at_head.url)
    with engine.connect() as connection:
        assert connection.execute(sa.select(Certificate.body)).all() == [("b",)]
    engine.dispose()


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["UPDATE alembic_version SET version_num = '0000'"], "at revision 0000"),
        (["UPDATE alembic_version SET version_num = '9999'"], "at revision 9999"),
        (["DELETE FROM alembic_version"], "at revision none"),
    ],
    ids=["below", "above", "unknown"],
)
def test_another_revision_is_named_with_the_command_to_run(
    at_head: Empty, statements: list[str], found: str
) -> None:
    at_head.execute(*statements)

    with pytest.raises(SchemaError, match=rf"{found}\. .*{_HEAD}.*customer-certificates migrate"):
        require_head(at_head.url)


def test_the_service_refuses_to_start_on_another_revision(empty: Empty) -> None:
    ended = run("serve", empty.settings)

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "The database is empty" in ended.stderr
    assert "customer-certificates migrate" in ended.stderr


def test_migrate_cannot_leave_a_revision_that_it_does_not_know(at_head: Empty) -> None:
    """The database of a newer version, say."""
    before = at_head.schema()
    at_head.execute("UPDATE alembic_version SET version_num = '9999'")

    ended = run("migrate", at_head.settings)

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "9999" in ended.stderr
    assert at_head.schema() == before


def test_the_statements_can_be_had_without_the_database(
    empty: Empty, models_schema: list[Any]
) -> None:
    written = empty.alembic("upgrade", "head", "--sql").stdout
    if empty.is_postgresql:
        assert empty.schema() == []
        with psycopg.connect(empty.settings["CC_DATABASE_URL"].replace("+psycopg", "")) as one:
            one.execute(written.encode())
    else:
        assert not empty.file.exists()
        empty.file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(empty.file)) as file:
            file.executescript(written)

    assert empty.schema() == models_schema
    require_head(empty.url)
