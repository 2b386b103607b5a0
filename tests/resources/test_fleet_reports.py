"""Reports of the certificates of all users, which operators alone get."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.gateways.database import EVERYBODY, Database
from customer_certificates.models import SummaryChange, SummaryDates, SummaryValue
from customer_certificates.services.fleet.summary_counters import SummaryCounters

from ..conftest import Backend
from ..credentials import bearer, make_token
from ..pki import authority
from ..tables import add_users
from . import refusal, self_signed, store

DAY = timedelta(days=1)


def test_the_summary_counts_the_certificates_of_all_users(
    reporting: TestClient, owner: int, stranger: int
) -> None:
    store(reporting, owner, self_signed("a.example", end=8 * DAY), active=True)
    store(reporting, stranger, self_signed("b.example"))

    answer = reporting.simulate_get("/summary")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    view = answer.json
    assert view["as_of"] == authority.NOW.isoformat().replace("+00:00", "Z")
    assert view["certificates"] == 2
    assert view["status"] == {"active": 1, "inactive": 1, "expired": 0, "not_yet_valid": 0}
    assert view["trust"]["self_signed"] == 2
    assert view["key_algorithms"] == [{"key_algorithm": "ECDSA-P-256", "certificates": 2}]
    assert {issuer["certificates"] for issuer in view["issuers"]} == {1}
    assert view["expiries"][0]["date"] == authority.NOW.date().isoformat()


@pytest.mark.one_backend
@pytest.mark.parametrize("path", ["/summary"])
def test_a_report_requires_an_operator_token(
    closed: TestClient, engine: sa.Engine, path: str
) -> None:
    (user,) = add_users(engine, 1)
    of_user = bearer(make_token(engine, user_id=user))
    of_terminator = bearer(make_token(engine, "terminator"))
    of_operator = bearer(make_token(engine, "operator"))

    assert refusal(closed.simulate_get(path, headers=of_user))[:2] == (403, "forbidden")
    assert refusal(closed.simulate_get(path, headers=of_terminator))[:2] == (403, "forbidden")
    assert closed.simulate_get(path, headers=of_operator).status_code in (200, 422)


def test_a_tenant_adds_to_the_summary_and_cannot_read_it(
    client: TestClient, database: Database, backend: Backend, owner: int
) -> None:
    store(client, owner, self_signed("a.example"))
    tables = [SummaryChange, SummaryValue, SummaryDates]

    def numbers(tenant: Any) -> list[int]:
        with database.begin(tenant) as session:
            return [len(session.execute(sa.select(table)).all()) for table in tables]

    assert numbers(EVERYBODY)[0] == 1
    SummaryCounters(database, lambda: authority.NOW).fold()
    store(client, owner, self_signed("b.example"))
    assert all(numbers(EVERYBODY))
    if backend.name == "postgresql":
        assert not any(numbers(owner))
