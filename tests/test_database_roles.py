"""The commands on a PostgreSQL with passwords, or with another encoding."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from sqlalchemy import make_url

from .servers import start_postgresql
from .service import run, run_forked

_ROOT = Path(__file__).parents[1]
_ALEMBIC = str(Path(sys.executable).with_name("alembic"))
_HBA = "host all postgres all trust\nhost all all all scram-sha-256\n"
_SERVICE = "roles_service"


@pytest.fixture(scope="module")
def owner_url(folder: Path) -> Iterator[str]:
    """A server that requires a password of every role except the owner."""
    place = folder / "postgresql-with-passwords"
    place.mkdir()
    hba = place / "pg_hba.conf"
    hba.write_text(_HBA)
    server = start_postgresql(place, settings={"hba_file": str(hba)})
    yield server.url
    server.stop()


@pytest.fixture
def settings(owner_url: str, tmp_path: Path) -> dict[str, str]:
    """An empty database, and no role of the service."""
    with psycopg.connect(owner_url, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS roles WITH (FORCE)")
        server.execute(f"DROP ROLE IF EXISTS {_SERVICE}")
        server.execute("CREATE DATABASE roles")
    return _settings(owner_url, tmp_path, "roles")


def test_serve_names_the_command_that_creates_its_role(settings: dict[str, str]) -> None:
    ended = run("serve", settings)

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert f'password authentication failed for user "{_SERVICE}"' in ended.stderr
    assert "Run: customer-certificates migrate" in ended.stderr


def test_an_unreachable_server_is_not_called_unmigrated(tmp_path: Path) -> None:
    ended = run("serve", _settings("postgresql://postgres@127.0.0.1:1/x", tmp_path, "roles"))

    assert ended.returncode == 2
    assert "migrate" not in ended.stderr


@pytest.mark.parametrize("by", ["migrate", "alembic"])
def test_a_role_with_another_password_is_named_and_nothing_is_changed(
    by: str, settings: dict[str, str]
) -> None:
    owner = settings["CC_DATABASE_OWNER_URL"]
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {_SERVICE} LOGIN PASSWORD 'another'")

    ended = _migrate(by, settings)

    assert ended.returncode != 0
    assert f"role {_SERVICE} exists, but" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    with psycopg.connect(owner) as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert found.fetchone() == (0,)
        connection.execute(f"ALTER ROLE {_SERVICE} PASSWORD 'its own'")
    assert _migrate(by, settings).returncode == 0


@pytest.mark.parametrize("by", ["migrate", "alembic"])
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_store_all_of_unicode_is_refused(
    encoding: LiteralString, by: str, owner_url: str, tmp_path: Path
) -> None:
    name = f"roles_{encoding}".lower()
    with psycopg.connect(owner_url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name}")
        server.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"
            " TEMPLATE template0"
        )

    ended = _migrate(by, _settings(owner_url, tmp_path, name))

    assert ended.returncode != 0
    assert f"encoding {encoding}. The service needs UTF8" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


def _settings(owner_url: str, folder: Path, database: str) -> dict[str, str]:
    owner = make_url(owner_url).set(database=database)
    service = owner.set(username=_SERVICE, password="its own")
    return {
        "CC_DATA_DIR": str(folder),
        "CC_DATABASE_OWNER_URL": owner.render_as_string(hide_password=False),
        "CC_DATABASE_URL": service.render_as_string(hide_password=False),
    }


def _migrate(by: str, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    if by == "migrate":
        return run("migrate", settings)
    return run_forked([_ALEMBIC, "upgrade", "head"], settings, folder=_ROOT)
