"""What the first version stored unread, and what `migrate` makes of it."""

import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from falcon.testing import TestClient

from customer_certificates.maintenance.stored_certificates import (
    examine_serve_windows,
    examine_unread,
)
from customer_certificates.models import Certificate, HostnameClaim, PlaintextKey, User

from ... import hostile
from ...conftest import Backend, StoredKeys
from ...factories import a_pair, an_upload
from ...pki.authority import issue
from ...resources import base64_of, der_of, pem
from ...service import run
from ...tables import add_users, dump


def add_unread(
    engine: sa.Engine, user_id: int, body: str, *, active: bool = True, key: bytes = b""
) -> None:
    """As the migration leaves what the first version inserted."""
    with engine.begin() as connection:
        certificate_id = connection.execute(
            sa.text(
                "INSERT INTO certificates (user_id, active, body, created_at)"
                " VALUES (:user_id, :active, :body, '2026-01-01 00:00:00') RETURNING id"
            ),
            {"user_id": user_id, "active": active, "body": body},
        ).scalar_one()
        connection.execute(
            sa.insert(PlaintextKey),
            {
                "certificate_id": certificate_id,
                "version": 1,
                "private_key": key or a_pair().key_pem,
            },
        )


def column(engine: sa.Engine, of: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(of).order_by(Certificate.id)).scalars())


@pytest.fixture
def two_users(engine: sa.Engine) -> list[int]:
    first, second = add_users(engine, 2)
    add_unread(engine, first, a_pair().body)
    add_unread(engine, second, a_pair().body)
    add_unread(engine, second, "rubbish", active=False)
    return [first, second]


def test_it_is_understood_and_active_names_are_claimed(
    backend: Backend, engine: sa.Engine, two_users: list[int]
) -> None:
    """Two users with the same name were both let: the first one has it, and both are served."""
    revisions = [user[5] for user in dump(engine)["users"]]

    assert examine_unread(backend.config()) == 3

    assert column(engine, Certificate.trust) == ["self_signed", "self_signed", "unreadable"]
    assert column(engine, Certificate.hostnames) == ['["www.example.com"]'] * 2 + ["[]"]
    assert column(engine, Certificate.active) == [True, True, False]
    assert column(engine, Certificate.updated_at) == [None] * 3
    findings = [json.loads(text) for text in column(engine, Certificate.findings)]
    codes = [[finding["code"] for finding in those] for those in findings]
    assert codes == [["untrusted"], ["untrusted", "hostname_taken"], ["pem_invalid"]]
    with engine.connect() as connection:
        claims = connection.execute(sa.select(HostnameClaim.hostname, HostnameClaim.user_id)).all()
        after = connection.execute(sa.select(User.certificates_revision)).scalars().all()
    assert [tuple(claim) for claim in claims] == [("www.example.com", two_users[0])]
    assert not set(after) & set(revisions)


@pytest.mark.one_backend
def test_no_key_is_lost_that_could_not_be_examined(
    backend: Backend, engine: sa.Engine, stored_keys: StoredKeys
) -> None:
    """However an examination ends, what is stored stays a key."""
    (user,) = add_users(engine, 1)
    key = hostile.pbkdf2_key(10**7)
    add_unread(engine, user, a_pair().body, key=key)

    examine_unread(backend.config())

    assert list(stored_keys().values()) == [key]
    assert "key_too_costly" in column(engine, Certificate.findings)[0]


@pytest.mark.one_backend
@pytest.mark.usefixtures("two_users")
def test_it_is_done_once(backend: Backend, engine: sa.Engine) -> None:
    examine_unread(backend.config())
    before = dump(engine)

    assert examine_unread(backend.config()) == 0
    assert dump(engine) == before


@pytest.mark.usefixtures("two_users")
def test_migrate_does_it_and_says_so(backend: Backend, engine: sa.Engine) -> None:
    first = run("migrate", backend.settings)
    second = run("migrate", backend.settings)

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout == "Validated certificates from an earlier version: 3.\n"
    assert second.stdout == ""
    assert "unreadable" in column(engine, Certificate.trust)


@pytest.mark.one_backend
def test_when_certificates_of_earlier_versions_can_be_served_is_found_out(
    backend: Backend, client: TestClient, engine: sa.Engine
) -> None:
    """What no server can load is handed out no more, also to those who had it."""
    (user,) = add_users(engine, 1)
    good = an_upload("good.example.com", active=True)
    key = ec.generate_private_key(ec.SECP256K1())
    name = "odd.example.com"
    leaf = issue(name, name, key=key, signer=key, hostnames=[name], end=timedelta(days=365))
    odd = {"body": pem(leaf), "private_key": base64_of(der_of(key)), "active": True}
    path = f"/users/{user}/certificates"
    for one in (good, odd):
        assert client.simulate_post(path, json=one).status_code == 201
    before = client.simulate_get(path).json
    assert [one["servable"] for one in before] == [True, False]
    # As migration 0010 leaves them.
    unknown = dict.fromkeys(("serve_not_before", "serve_not_after", "not_servable"))
    with engine.begin() as connection:
        connection.execute(sa.update(Certificate).values(**unknown))
        connection.execute(sa.update(User).values(certificates_revision=bytes(16)))
    page = client.simulate_get("/terminators/feed").json
    assert len(page["changes"]) == 2

    assert examine_serve_windows(backend.config()) == 2
    assert examine_serve_windows(backend.config()) == 0

    assert client.simulate_get(path).json == before
    page = client.simulate_get("/terminators/feed", params={"since": page["cursor"]}).json
    assert page["reset"]
    sent = [one["hostnames"] for one in page["changes"] if one["active"]]
    assert sent == [["good.example.com"]]
