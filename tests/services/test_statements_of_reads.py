"""How many statements a read takes with credentials, and a page of the console."""

from datetime import UTC, datetime

import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.console import cookies
from customer_certificates.models import Certificate

from ..credentials import bearer, make_session, make_token
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


def test_a_page_of_certificates_takes_four_statements_for_any_number(
    closed: TestClient, owner: int, engine: sa.Engine, statements: Counter
) -> None:
    """The session, the revision, the certificates, and how many terminators serve each."""
    operator = bearer(make_token(engine, "operator"))
    closed.simulate_post(f"/users/{owner}/certificates", json=an_upload(), headers=operator)
    cookie = {"Cookie": f"{cookies.NAME}={make_session(engine, user_id=owner)}"}
    page = f"/console/users/{owner}/certificates"
    _show(closed, page, cookie)
    assert len(statements(lambda: _show(closed, page, cookie))) == 3
    columns = ", ".join(one.name for one in Certificate.__table__.c if one.name != "id")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO certificates ({columns}) WITH RECURSIVE numbers (n) AS (SELECT 1"
            " UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)"
            f" SELECT {columns} FROM certificates, numbers"
        )

    # Another page than before: no cache has it.
    assert len(statements(lambda: _show(closed, f"{page}?after=100", cookie))) == 4
    shown = _show(closed, f"{page}?after=100", cookie)
    assert shown.count('data-label="Hostnames"') == 50


def _show(client: TestClient, page: str, cookie: dict[str, str]) -> str:
    answer = client.simulate_get(page, headers=cookie)
    assert answer.status_code == 200, answer.text
    return answer.text
