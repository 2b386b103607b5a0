"""The service with and without authentication, and the commands for tokens."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from customer_certificates.crypto import token_format
from customer_certificates.gateways.database import migration_engine, shown_url
from customer_certificates.gateways.database.modes import ModeError, require_auth_mode
from customer_certificates.models import ServiceLatch, ServiceSecret

from .client.importing.trees import write
from .conftest import Backend
from .credentials import bearer, make_token
from .factories import a_pair, a_user
from .service import COMMAND, Service, environment, run
from .tables import NOW


@pytest.fixture
def production(backend: Backend, engine: sa.Engine) -> dict[str, str]:
    """The settings of the profile prd, on the backend's database."""
    return {**backend.settings, "CC_ENV": "prd", **backend.named()}


@contextmanager
def serving(settings: dict[str, str], log: Path) -> Iterator[Service]:
    service = Service({**settings, "CC_WORKERS": "1"}, log)
    try:
        yield service
        assert service.stop() == 0
    finally:
        service.kill()


def test_the_first_operator_token_is_accepted(production: dict[str, str], tmp_path: Path) -> None:
    made = run("token create --operator --expires-in-days 7", production)
    operator = bearer(made.stdout.strip())

    # With a mail server, but without a URL for links.
    mail = {"CC_SMTP_URL": "smtp://127.0.0.1:9?tls=none", "CC_MAIL_FROM": "a@b.example"}
    with serving({**production, **mail}, tmp_path / "log") as service, service.client() as client:
        assert "CC_PUBLIC_URL is not set" in service.log.read_text()
        assert client.get("/users").status_code == 401
        user = client.post("/users", json=a_user(), headers=operator)
        assert user.status_code == 201
        assert "CC-Mode" not in client.get("/livez").headers
        (tmp_path / "token").write_text(made.stdout)
        pair = a_pair()
        folder = write(tmp_path / "site", {"cert.pem": pair.body, "key.pem": pair.key_pem})
        command = f"import {folder} --user {user.json()['id']} --server {service.url}"
        refused = run(command, {})
        assert (refused.returncode, "A token is missing" in refused.stderr) == (1, True)
        imported = run(f"{command} --token-file {tmp_path / 'token'}", {})
        assert imported.returncode == 0, imported.stderr
    said = (tmp_path / "log").read_text()
    assert "It requires authentication (profile prd)" in said
    assert made.stdout.strip() not in said


def test_a_service_without_authentication_says_so(service: Service) -> None:
    with service.client() as client:
        assert client.get("/livez").headers["CC-Mode"] == "open"
    assert "It requires no authentication (profile tst)" in service.log.read_text()


def test_a_database_used_with_authentication_requires_it(
    production: dict[str, str], engine: sa.Engine, tmp_path: Path
) -> None:
    with serving(production, tmp_path / "log"):
        pass
    for profile in ("lcl", "tst"):
        ended = run("serve", {**production, "CC_ENV": profile})
        assert ended.returncode == 2
        assert "was used with authentication (profile prd)" in ended.stderr
        assert "Traceback" not in ended.stderr

    with engine.connect() as connection:
        assert len(connection.execute(sa.select(ServiceLatch)).all()) == 1


@pytest.mark.parametrize(
    "attack",
    [
        "DELETE FROM service_latches",
        "UPDATE service_latches SET name = 'something else'",
        "TRUNCATE service_latches",
        "DROP TABLE service_latches",
        "ALTER TABLE service_latches RENAME TO something_else",
    ],
)
def test_the_service_role_cannot_remove_the_mark(
    backend: Backend, engine: sa.Engine, attack: str
) -> None:
    is_of_schema = attack.startswith(("TRUNCATE", "DROP", "ALTER"))
    if backend.name == "sqlite" and is_of_schema:
        # SQLite has no roles: whoever can write the file can also change its schema.
        return
    _enter(backend, asks_credentials=True)
    service = migration_engine(backend.database_url)
    with pytest.raises(DBAPIError), service.begin() as connection:
        connection.exec_driver_sql(attack)

    with pytest.raises(ModeError, match="was used with authentication"):
        _enter(backend, asks_credentials=False)


def test_concurrent_starts_all_mark_the_database(backend: Backend, engine: sa.Engine) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: _enter(backend, asks_credentials=True), range(8)))

    with pytest.raises(ModeError):
        _enter(backend, asks_credentials=False)


def test_the_role_of_the_service_cannot_change_the_secret_of_the_database(
    backend: Backend, engine: sa.Engine
) -> None:
    with engine.connect() as connection:
        values = list(connection.execute(sa.select(ServiceSecret.value)).scalars())
    assert [len(value) for value in values] == [32]
    if backend.name == "postgresql":
        service = migration_engine(backend.database_url)
        for attack in (
            "INSERT INTO service_secrets (name, value) VALUES ('another', '')",
            "UPDATE service_secrets SET value = ''",
            "DELETE FROM service_secrets",
        ):
            with pytest.raises(DBAPIError), service.begin() as connection:
                connection.exec_driver_sql(attack)


def _enter(backend: Backend, *, asks_credentials: bool) -> None:
    require_auth_mode(backend.database_url, asks_credentials=asks_credentials, now=NOW)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"CC_DATABASE_URL": ""}, "CC_DATABASE_URL is not set"),
        ({"CC_MASTER_KEY": ""}, "CC_MASTER_KEY is not set"),
        ({"CC_HOST": "0.0.0.0"}, "would be served without TLS"),
    ],
)
def test_production_requires_settings(tmp_path: Path, changes: dict[str, str], named: str) -> None:
    complete = {
        "CC_ENV": "prd",
        "CC_DATABASE_URL": f"sqlite:///{tmp_path}/certificates.sqlite3",
        "CC_MASTER_KEY": f"file:{tmp_path}/key",
    }
    ended = run("serve", {**complete, **changes})

    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert named in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_tokens_are_listed_and_revoked(production: dict[str, str], engine: sa.Engine) -> None:
    name = "first\x1b[2J\x9b31m\u202e\x7f"
    text = run(f"token create --operator --name {name}", production).stdout.strip()
    other = make_token(engine, "operator")
    parts = token_format.read(text)
    assert parts

    table, listed = (
        run("token list", production).stdout,
        run("token list --json", production).stdout,
    )
    assert [one["id"] for one in json.loads(listed)] == [parts.id, other.id]
    # No name acts upon the terminal, and the JSON has it as it is.
    assert (table + listed).replace("\n", "").isprintable()
    assert "first\\u001b[2J" in table
    assert json.loads(listed)[0]["name"] == name
    assert parts.secret not in table + listed
    assert run(f"token revoke {parts.id}", production).returncode == 0
    first, second = json.loads(run("token list --json", production).stdout)
    assert first["revoked_at"]
    assert second["revoked_at"] is None


def test_an_unknown_token_is_not_revoked(production: dict[str, str]) -> None:
    ended = run("token revoke 4611686018427387904", production)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Token 4611686018427387904 does not exist." in ended.stderr


@pytest.mark.one_backend
@pytest.mark.parametrize("profile", ["lcl", "tst"])
def test_no_token_is_created_without_authentication(
    production: dict[str, str], engine: sa.Engine, backend: Backend, profile: str
) -> None:
    """It would open nothing: CC_ENV was forgotten, most likely."""
    ended = run("token create --operator", {**production, "CC_ENV": profile})

    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"The profile {profile} requires no authentication" in ended.stderr
    assert "Set CC_ENV=prd" in ended.stderr
    assert run("token list", production).stdout == "There are no tokens.\n"

    # Of a database that was served with credentials, a token opens something.
    _enter(backend, asks_credentials=True)
    made = run("token create --operator", {**production, "CC_ENV": profile})
    assert token_format.read(made.stdout.strip())


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "command", ["token list", "token revoke 1", "audit verify", "keys status", "keys rewrap"]
)
def test_commands_name_their_target(
    production: dict[str, str], backend: Backend, engine: sa.Engine, command: str
) -> None:
    ended = run(command, production)

    database = make_url(backend.database_url)
    assert ended.stderr.splitlines()[0] == (
        "customer-certificates: profile prd, database "
        f"{database.set(drivername=backend.name)._replace(password=None).render_as_string()}"
    )
    assert "customer-certificates: profile" not in ended.stdout


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://ada:se/c@cret@db:5433/x", "postgresql://ada@db:5433/x"),
        ("postgresql+psycopg://ada:s%40cret@db/x?password=secret", "postgresql://ada@db/x"),
        ("postgresql+psycopg:///x?host=/run/pg&sslpassword=secret", "postgresql:///x?host=%2Frun"),
        ("sqlite:////var/lib/x.sqlite3", "sqlite:////var/lib/x.sqlite3"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    found = shown_url(url)

    assert found.startswith(shown)
    assert "cret" not in found


def test_the_command_line_creates_only_operator_tokens(production: dict[str, str]) -> None:
    ended = run("token create", production)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--operator" in ended.stderr


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (token_format.write("user", 7, "0" * 43), 0, "user token 7"),
        (token_format.write("user", 7, "0" * 43)[:-1] + "~", 1, "Malformed token"),
        ("", 1, "Malformed token"),
    ],
)
def test_a_token_is_verified_without_a_database(text: str, code: int, says: str) -> None:
    ended = subprocess.run(
        [COMMAND, "token", "verify"],
        env=environment({"CC_DATABASE_URL": "nonsense"}),
        input=f"{text}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == code
    assert says in ended.stdout
