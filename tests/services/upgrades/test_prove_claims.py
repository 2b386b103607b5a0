"""Databases of revision 0013, in use: `migrate` gives claims the proof of stored certificates."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import create_app
from customer_certificates.config import Config
from customer_certificates.gateways.database import migration_engine

from ...conftest import Backend
from ...factories import CHEAPEST_HASHES, a_user
from ...pki.authority import a_leaf, an_authority
from ...resources import an_upload_of, pem, store
from ...service import run
from ...test_migrations import Empty

# The command `migrate` has the real clock.
LONG = {"start": timedelta(days=-10000), "end": timedelta(days=36500)}


def public(hostname: str) -> dict[str, Any]:
    return an_upload_of(a_leaf("Root", hostname, **LONG))


def own(hostname: str) -> dict[str, Any]:
    return an_upload_of(a_leaf(hostname, hostname, hostnames=[hostname], **LONG))


@pytest.fixture
def empty(backend: Backend, folder: Path) -> Empty:
    return Empty(backend, folder)


@pytest.fixture
def settings(empty: Empty, tmp_path: Path) -> dict[str, str]:
    roots = tmp_path / "roots.pem"
    roots.write_text(pem(an_authority("Root", "Root", **LONG)))
    return {
        **empty.settings,
        "CC_CA_BUNDLE": str(roots),
        "CC_PRIVATE_ROOTS_PROVE_NAMES": "true",
        "CC_UPLOAD_CHECKS": "report",
    }


@pytest.fixture
def client(settings: dict[str, str]) -> Iterator[TestClient]:
    assert run("migrate", settings).returncode == 0
    config = Config.from_environ({"CC_ENV": "tst", **settings})
    app = create_app(replace(config, password_cost=CHEAPEST_HASHES))
    yield TestClient(app, headers={"Host": "localhost:9000"})
    app.close()


def test_existing_claims_get_the_proof_of_their_certificates(
    empty: Empty, settings: dict[str, str], client: TestClient
) -> None:
    owner, stranger = (client.simulate_post("/users", json=a_user()).json["id"] for _ in range(2))
    replaced = store(client, owner, public("www.example.com"), active=True)
    renewed = client.simulate_put(replaced, json=public("www.example.com"))
    assert renewed.json["version"] == 2
    store(client, owner, own("self.example.net"), active=True)
    store(client, owner, public("inactive.example.org"))
    stolen = {**public("stolen.example.org"), "private_key": "QUJD"}
    store(client, stranger, stolen, active=True)
    wildcard = store(client, stranger, own("*.example.com")).rpartition("/")[2]
    for path in (replaced, f"/users/{stranger}/certificates/{wildcard}"):
        client.simulate_patch(f"{path}/active", json={"active": False})
    # As an earlier version has it: two users, one above the other.
    client.simulate_patch(f"{replaced}/active", json={"active": True})
    empty.alembic("downgrade", "0013")
    empty.execute(
        f"UPDATE certificates SET active = true WHERE id = {wildcard}",
        f"INSERT INTO hostname_claims (hostname, user_id) VALUES ('*.example.com', {stranger}),"
        f" ('192.0.2.7', {stranger}), ('2001:db8::1', {stranger}), ('intranet', {stranger})",
    )

    ended = run("migrate", settings)
    assert ended.returncode == 0, ended.stderr
    # Two versions of one, the inactive one and the stolen one: no other is of a public CA.
    assert ended.stdout.splitlines() == ["Validated certificates from an earlier version: 4."]
    assert _claims(empty) == {
        "www.example.com": (owner, "*.example.com", "public_ca", True),
        "self.example.net": (owner, "*.example.net", "none", False),
        "stolen.example.org": (stranger, "*.example.org", "none", False),
        "*.example.com": (stranger, None, "none", False),
        "192.0.2.7": (stranger, None, "none", False),
        "2001:db8::1": (stranger, None, "none", False),
        "intranet": (stranger, None, "none", False),
    }
    assert empty.rows("SELECT COUNT(*) FROM certificates WHERE proves_hostnames IS NULL") == [0]
    assert empty.rows("SELECT proves_hostnames FROM certificate_versions") == [True]
    again = run("migrate", settings)
    assert (again.returncode, again.stdout) == (0, "")


def _claims(empty: Empty) -> dict[str, tuple[Any, ...]]:
    engine = migration_engine(empty.url)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT hostname, user_id, wildcard, proof, proven_at IS NOT NULL"
                " AND proof_until IS NOT NULL FROM hostname_claims"
            )
        ).all()
    engine.dispose()
    return {row[0]: (row[1], row[2], row[3], bool(row[4])) for row in rows}
