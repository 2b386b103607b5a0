"""The migrations result in the models' schema, upgrading and downgrading."""

import itertools
import re
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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

from customer_certificates.config import Config
from customer_certificates.gateways.database import migration_engine
from customer_certificates.gateways.database.schema import SchemaError, head, migrate, require_head
from customer_certificates.models import Base, Certificate

from .conftest import Backend
from .service import run, run_forked

_ROOT = Path(__file__).parents[1]
_ALEMBIC = str(Path(sys.executable).with_name("alembic"))
_HEAD = "0001"
_numbers = itertools.count()


class Empty:
    """An empty database, or a copy of another one."""

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
        self.file = data / "customer-certificates.sqlite3"

    def execute(self, *statements: str) -> None:
        """Runs statements outside of migrations."""
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

    def upgrade(self, revision: str) -> None:
        """Upgrades to a revision."""
        command.upgrade(self._alembic(), revision)

    def downgrade(self, revision: str) -> None:
        """Downgrades to a revision."""
        command.downgrade(self._alembic(), revision)

    def _alembic(self) -> AlembicConfig:
        return AlembicConfig(_ROOT / "alembic.ini", attributes={"database_url": self.url})

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
    "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    """SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace""",
]


def _lines(value: Any) -> str:
    return "\n".join(sorted(part for part in re.split(r"[,\s]*\n\s*|,\s+", str(value)) if part))


@pytest.fixture
def empty(backend: Backend, folder: Path) -> Empty:
    return Empty(backend, folder)


@pytest.fixture(scope="module")
def template(backend: Backend, folder: Path) -> Empty:
    database = Empty(backend, folder)
    database.upgrade("head")
    return database


@pytest.fixture
def at_head(backend: Backend, folder: Path, template: Empty) -> Empty:
    """A database at head, copied from one that was migrated once."""
    return Empty(backend, folder, template)


@pytest.fixture(scope="module")
def models_schema(backend: Backend, folder: Path) -> list[Any]:
    """The models' schema, created without migrations."""
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


def test_the_schema_matches_the_models(at_head: Empty, models_schema: list[Any]) -> None:
    assert at_head.schema() == models_schema
    described = str(models_schema)
    assert "ix_certificates_user_id_id_active" in described
    assert re.search(r"WHERE \(?active", described)
    if at_head.is_postgresql:
        assert "toast_tuple_target=8160" in described
    else:
        assert described.count("AUTOINCREMENT") == 13


def test_alembic_finds_no_difference_between_head_and_models(at_head: Empty) -> None:
    engine = migration_engine(at_head.url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_downgrade_and_upgrade_restore_the_schema(at_head: Empty, models_schema: list[Any]) -> None:
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


def test_concurrent_migrations_run_once(empty: Empty, models_schema: list[Any]) -> None:
    with ThreadPoolExecutor(3) as threads:
        all_ended = list(threads.map(lambda _: run("migrate", empty.settings), range(3)))

    assert [ended.returncode for ended in all_ended] == [0, 0, 0], all_ended
    assert empty.schema() == models_schema
    require_head(empty.url)


def test_a_failed_migration_of_an_empty_database_leaves_nothing(
    empty: Empty, project: Path
) -> None:
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


def test_a_failed_migration_keeps_existing_data(
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
    """SQLite alters a table by creating a new one and dropping the old one, with cascades."""
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


def test_migrations_can_be_printed_as_sql(empty: Empty, models_schema: list[Any]) -> None:
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
