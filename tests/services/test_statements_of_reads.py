"""How many statements a read takes with credentials."""

from datetime import UTC, datetime

import sqlalchemy as sa
from falcon.testing import TestClient

from ..credentials import bearer, make_token
from ..factories import an_upload
from .conftest import Counter

_TERMINATORS = ("edge-2", "edge-1")


def test_a_certificate_takes_two_statements_and_a_warm_list_one(
    closed: TestClient, owner: int, engine: sa.Engine, statements: Counter
) -> None:
    """Each of them begins with the token; a certificate comes with all that serve it."""
    now = datetime.now(UTC)
    headers = bearer(make_token(engine, "operator", last_used_at=now))
    path = f"/users/{owner}/certificates"
    stored = closed.simulate_post(path, json=an_upload(), headers=headers).json
    served = {
        "certificate_id": stored["id"],
        "version": 1,
        "fingerprint_sha256": stored["fingerprint_sha256"],
    }
    reporter = bearer(make_token(engine, "terminator", last_used_at=now))
    for name in _TERMINATORS:
        said = {"terminator": name, "served": [served]}
        answer = closed.simulate_post("/terminators/reports", json=said, headers=reporter)
        assert answer.status_code == 204, answer.text
    one = f"{path}/{stored['id']}"

    assert len(statements(lambda: closed.simulate_get(one, headers=headers))) == 2
    shown = closed.simulate_get(one, headers=headers).json
    assert [by["terminator"] for by in shown["serving"]] == sorted(_TERMINATORS)
    assert (shown["body"], shown["hostnames"]) == (an_upload()["body"], ["www.example.com"])
    listed = closed.simulate_get(path, headers=headers)
    assert len(statements(lambda: closed.simulate_get(path, headers=headers))) == 1
    assert closed.simulate_get(path, headers=headers).json == listed.json
