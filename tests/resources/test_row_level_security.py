"""Row-level security on PostgreSQL separates users without the application's own filters.

The tests remove the filters from the application's statements. On SQLite, which has no row-level
security, the same requests then read and change another user's data: the filters are removed.
"""

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
# Rows of these tables belong to no user, or are found by a name that nobody can guess.
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
    """Returns the statement of `made` without comparisons with the user's id."""
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
    """Returns the statement for SQLite, whose parameters have no numbers."""
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
    """Yields a client of the application without its filters."""
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
    """Returns the responses to a stranger who addresses the certificate as their own."""
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


def test_a_stranger_reads_and_changes_no_certificate(
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


def test_each_table_shows_only_the_rows_of_the_user(
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


def test_each_table_of_users_has_row_level_security(backend: Backend, engine: sa.Engine) -> None:
    if backend.name == "postgresql":
        with engine.connect() as connection:
            protected = connection.execute(
                sa.text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
            ).scalars()
            assert set(protected) == set(Base.metadata.tables) - OPEN


def test_the_audit_log_cannot_be_changed(backend: Backend, database: Database) -> None:
    if backend.name == "postgresql":
        for statement in ("UPDATE audit SET action = ''", "DELETE FROM audit"):
            with pytest.raises(ProgrammingError), database.begin(EVERYBODY) as session:
                session.execute(sa.text(statement))


def test_a_role_that_bypasses_row_level_security_is_rejected(backend: Backend) -> None:
    require_row_level_security(backend.database_url)
    if backend.name == "postgresql":
        with pytest.raises(SchemaError, match="superuser"):
            require_row_level_security(backend.owner_url)
