"""PostgreSQL keeps users apart by itself: where the application's own filters are taken out,
nothing of another user's comes out, and nothing of another's is changed. SQLite, which has no such
wall, shows that they are out."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient
from sqlalchemy.exc import ProgrammingError

from customer_certificates.app import create_app
from customer_certificates.gateways.database import EVERYBODY, Database
from customer_certificates.gateways.database.prepared import Prepared
from customer_certificates.gateways.database.schema import SchemaError, require_row_level_security
from customer_certificates.models import Base, Certificate
from customer_certificates.services.certificates import contents, parts

from ..conftest import Backend
from ..tables import dump
from . import self_signed, store

WWW = "www.example.com"
# Tables that have rows of a user who stored a certificate and replaced it.
WITH_ROWS = (
    "users",
    "certificates",
    "certificate_versions",
    "certificate_hostnames",
    "private_keys",
    "user_keys",
    "audit",
    "audit_heads",
    "events",
    "webhooks",
    "webhook_secrets",
    "deliveries",
)
# What is in these is no user's, or is found by a name that nobody can guess.
OPEN = {
    "service_state",
    "service_latches",
    "service_secrets",
    "key_deletions",
    "audit_exports",
    "kept_answers",
    "terminators",
    "rate_counts",
}


def without_filters(made: Prepared) -> str:
    """The statement of `made` with all that compares with the user's id taken out."""
    sql = made.sql
    if "$1" not in sql and "?" in sql:
        return _numbered(made)
    for place, (name, _, _) in enumerate(made._compiled.parameters, 1):
        if name == "user_id" and not sql.startswith("INSERT"):
            sql = re.sub(
                rf"[\w.]+ = \${place}(::BIGINT)?(?!\d)", rf"${place}::BIGINT IS NOT NULL", sql
            )
    return sql


def _numbered(made: Prepared) -> str:
    """The same for SQLite, whose parameters have no numbers."""
    parts = made.sql.split("?")
    sql = parts[0]
    for (name, _, _), part in zip(made._compiled.parameters, parts[1:], strict=True):
        filtered = re.search(r"[\w.]+ = $", sql)
        if name == "user_id" and filtered and not made.sql.startswith("INSERT"):
            sql = f"{sql[: filtered.start()]}? IS NOT NULL{part}"
        else:
            sql = f"{sql}?{part}"
    return sql


@pytest.fixture
def unfiltered(
    backend: Backend, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """The application with its filters taken out."""
    prepare = Database.prepare

    def prepared(self: Database, *given: Any, **named: Any) -> Prepared:
        made = prepare(self, *given, **named)
        made._compiled = made._compiled._replace(sql=without_filters(made))
        return made

    def locked(session: Any, user_id: int, certificate_id: int) -> Certificate:
        found: Certificate | None = session.get(Certificate, certificate_id)
        if found is None:
            raise contents.certificate_not_found(user_id, certificate_id)
        return found

    monkeypatch.setattr(Database, "prepare", prepared)
    monkeypatch.setattr(parts, "locked_certificate", locked)
    app = create_app(backend.config())
    yield TestClient(app, headers={"Host": "localhost:9000"})
    app.close()


def ask_for_all(client: TestClient, stranger: int, certificate: str) -> dict[str, Result]:
    """What a stranger is answered who asks for the certificate as if it were the stranger's."""
    path = f"/users/{stranger}/certificates/{certificate.rpartition('/')[2]}"
    return {
        "show": client.simulate_get(path),
        "versions": client.simulate_get(f"{path}/versions"),
        "check": client.simulate_post(
            f"/users/{stranger}/certificates/check?replaces={path.rpartition('/')[2]}",
            json=self_signed("a.example"),
        ),
        "roll back": client.simulate_post(f"{path}/rollback", json={"version": 1}),
        "deactivate": client.simulate_patch(f"{path}/active", json={"active": False}),
        "replace": client.simulate_put(
            path, json={**self_signed("a.example"), "allow_lost_hostnames": True}
        ),
        "delete": client.simulate_delete(path),
    }


def test_nothing_of_anothers_comes_out_or_is_changed(
    client: TestClient,
    unfiltered: TestClient,
    backend: Backend,
    engine: sa.Engine,
    owner: int,
    stranger: int,
) -> None:
    certificate = store(client, owner, self_signed(WWW), active=True)
    client.simulate_put(certificate, json=self_signed(WWW))
    before = dump(engine)
    shown = unfiltered.simulate_get(f"/users/{stranger}/certificates")
    found = unfiltered.simulate_get(f"/users/{stranger}/certificates?hostname={WWW}")
    user = unfiltered.simulate_get(f"/users/{stranger}")
    answers = ask_for_all(unfiltered, stranger, certificate)

    if backend.name == "sqlite":
        assert any(answer.status_code < 300 for answer in answers.values())
        assert dump(engine) != before
    else:
        assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(
            answers, 404
        )
        assert shown.json == found.json == []
        assert user.json["id"] == stranger
        assert dump(engine) == before


def test_each_table_shows_a_user_its_own_rows_alone(
    client: TestClient, database: Database, backend: Backend, owner: int, stranger: int
) -> None:
    for user in (owner, stranger):
        path = store(client, user, self_signed(f"user{user}.example"), active=True)
        client.simulate_put(path, json=self_signed(f"user{user}.example"))
        hook = {"url": "https://hooks.example.com"}
        assert client.simulate_post(f"/users/{user}/webhooks", json=hook).status_code == 201
        client.simulate_post(f"{path}/rollback", json={"version": 1})
    tables = [Base.metadata.tables[name] for name in WITH_ROWS]

    def rows(tenant: Any) -> dict[str, int]:
        with database.begin(tenant) as session:
            return {table.name: len(session.execute(sa.select(table)).all()) for table in tables}

    everything = rows(EVERYBODY)
    assert all(everything.values())
    if backend.name == "postgresql":
        halves = {name: number // 2 for name, number in everything.items()}
        assert rows(owner) == rows(stranger) == halves
        assert not any(rows(10**9).values())


def test_no_table_is_forgotten(backend: Backend, engine: sa.Engine) -> None:
    if backend.name == "postgresql":
        with engine.connect() as connection:
            walled = connection.execute(
                sa.text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
            ).scalars()
            assert set(walled) == set(Base.metadata.tables) - OPEN


def test_what_was_recorded_cannot_be_changed(backend: Backend, database: Database) -> None:
    if backend.name == "postgresql":
        for statement in ("UPDATE audit SET action = ''", "DELETE FROM audit"):
            with pytest.raises(ProgrammingError), database.begin(EVERYBODY) as session:
                session.execute(sa.text(statement))


def test_a_role_that_passes_the_wall_is_refused(backend: Backend) -> None:
    require_row_level_security(backend.database_url)
    if backend.name == "postgresql":
        with pytest.raises(SchemaError, match="superuser"):
            require_row_level_security(backend.owner_url)
