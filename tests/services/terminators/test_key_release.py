"""The audit entries of released keys pass the verification of the audit log."""

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.models import AuditEntry, AuditHead

from ...conftest import Backend
from ...factories import an_upload
from ...service import run
from ...tables import add_users


@pytest.mark.parametrize("number", [1, 12])
def test_the_record_of_many_users_verifies(
    backend: Backend, client: TestClient, engine: sa.Engine, number: int
) -> None:
    users = add_users(engine, number)
    for user_id in users:
        path = f"/users/{user_id}/certificates"
        sent = an_upload(f"{user_id}.example.com", active=True)
        assert client.simulate_post(path, json=sent).status_code == 201
    for _ in range(2):
        page = client.simulate_get("/terminators/feed").json
        assert len(page["changes"]) == number

    ended = run("audit verify", backend.settings)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with engine.connect() as connection:
        entries = connection.execute(sa.select(AuditEntry.chain, AuditEntry.action)).all()
        heads = connection.execute(sa.select(AuditHead.chain, AuditHead.seq)).all()
    assert entries.count((users[0], "key.read")) == 2
    assert len(entries) == 3 * number
    assert sorted(map(tuple, heads)) == [(user_id, 3) for user_id in users]
