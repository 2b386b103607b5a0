"""The counters of stored data need no extra statement, and a recount corrects them."""

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.gateways.database import Database
from customer_certificates.models import User
from customer_certificates.services.quotas.usage import COUNTERS, Usage

from ...factories import an_upload
from ..conftest import Counter


@pytest.mark.parametrize("active", [False, True])
def test_an_upload_counts_in_the_statement_that_locks_the_user(
    client: TestClient, owner: int, statements: Counter, active: bool
) -> None:
    path = f"/users/{owner}/certificates"
    client.simulate_post(path, json=an_upload())
    asked = statements(
        lambda: client.simulate_post(path, json=an_upload("shop.example.com", active=active))
    )
    # Another one reads the quota of unproven hostnames together with their number.
    of_users = [sql for sql in asked if "UPDATE users" in sql]
    assert len(of_users) == 1
    assert "certificate_count=" in of_users[0]


def test_counters_that_are_wrong_are_corrected(
    client: TestClient, owner: int, stranger: int, database: Database, engine: sa.Engine
) -> None:
    for user_id in (owner, stranger):
        client.simulate_post(f"/users/{user_id}/certificates", json=an_upload())
    of_owner = sa.select(*COUNTERS).where(User.id == owner)
    with engine.begin() as connection:
        right = connection.execute(of_owner).one()
        # As a change outside the service leaves it.
        connection.execute(
            sa.update(User).where(User.id == owner).values(certificate_count=-1, stored_bytes=0)
        )
    assert Usage(database).recount() == 2
    with engine.connect() as connection:
        assert connection.execute(of_owner).one() == right
    assert Usage(database).recount() == 0
