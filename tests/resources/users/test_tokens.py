"""Tokens over HTTP, where credentials are asked for."""

import base64
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.app import create_app
from customer_certificates.crypto import token_format
from customer_certificates.models import Token
from customer_certificates.services.access.permissions import SCOPES

from ...conftest import Backend
from ...credentials import bearer, make_token
from ...factories import a_user
from ...tables import add_users, dump
from .. import refusal
from ..test_audit import put_in_the_way

pytestmark = pytest.mark.one_backend

READ = {"name": "laptop", "scopes": ["certificates:read"]}
_addresses = itertools.count(1)


def an_address() -> str:
    """Where nobody has failed to sign in from yet."""
    number = next(_addresses)
    return f"198.18.{number // 256}.{number % 256}"


def basic(email: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{email}:{password}".encode()).decode()}


@pytest.fixture
def operator(engine: sa.Engine) -> dict[str, str]:
    """The headers of an operator's request."""
    return bearer(make_token(engine, "operator"))


class Account:
    """A user that an operator has registered, and its password."""

    def __init__(self, client: TestClient, operator: dict[str, str]) -> None:
        sent = a_user()
        self.id = client.simulate_post("/users", json=sent, headers=operator).json["id"]
        self.email, self.password = sent["email"], sent["password"]
        self.basic = basic(self.email, self.password)


@pytest.fixture
def ada(closed: TestClient, operator: dict[str, str]) -> Account:
    return Account(closed, operator)


def make(client: TestClient, headers: dict[str, str], **content: Any) -> Result:
    return client.simulate_post("/tokens", json={**READ, **content}, headers=headers)


def test_a_password_makes_a_token_that_opens_what_it_says(closed: TestClient, ada: Account) -> None:
    made = make(closed, ada.basic)

    assert made.status_code == 201
    assert made.headers["Location"] == f"/tokens/{made.json['id']}"
    assert made.headers["Cache-Control"] == "no-store"
    assert (made.json["kind"], made.json["user_id"]) == ("user", ada.id)
    own = bearer(made.json["token"])
    assert closed.simulate_get(f"/users/{ada.id}", headers=own).json["email"] == ada.email
    assert closed.simulate_get(f"/users/{ada.id}/certificates", headers=own).json == []
    upload = closed.simulate_post(f"/users/{ada.id}/certificates", json={}, headers=own)
    assert refusal(upload) == (403, "forbidden", {})


def test_a_secret_is_shown_once_and_stored_nowhere(
    closed: TestClient, ada: Account, operator: dict[str, str], engine: sa.Engine
) -> None:
    text = make(closed, ada.basic).json["token"]
    parts = token_format.read(text)
    assert parts
    listed = closed.simulate_get("/tokens", headers=bearer(text)).text
    listed += closed.simulate_get("/tokens", headers=operator).text

    assert parts.secret not in listed
    assert parts.secret not in str(dump(engine))
    assert token_format.digest(parts.secret).hex() not in listed


@pytest.mark.parametrize(("days", "status"), [(1, 201), (365, 201), (0, 422), (366, 422)])
def test_a_token_is_good_for_a_year_at_most(
    closed: TestClient, ada: Account, days: int, status: int
) -> None:
    made = make(closed, ada.basic, expires_in_days=days)

    assert made.status_code == status
    if status == 201:
        assert lifetime(made) == timedelta(days=days)


def test_a_token_is_good_for_90_days_unless_told_otherwise(
    closed: TestClient, ada: Account
) -> None:
    assert lifetime(make(closed, ada.basic)) == timedelta(days=90)


def lifetime(made: Result) -> timedelta:
    created, expires = (
        datetime.fromisoformat(made.json[name]) for name in ("created_at", "expires_at")
    )
    return expires - created


@pytest.mark.parametrize(
    ("content", "status", "fields"),
    [
        ({"scopes": []}, 400, {"scopes": "required"}),
        ({"scopes": ["everything"]}, 422, {"scopes": "invalid_value"}),
        ({"kind": "owner"}, 422, {"kind": "invalid_value"}),
        ({"name": ""}, 422, {"name": "invalid_value"}),
        ({"user_ids": [1]}, 422, {"user_ids": "unfit"}),
        ({"hostnames": ["example.com"]}, 422, {"hostnames": "unfit"}),
        ({"secret": "mine"}, 422, {"secret": "unknown_field"}),
        ({"kind": "operator"}, 403, {}),
        ({"kind": "terminator"}, 403, {}),
        ({"user_id": 2**62}, 403, {}),
    ],
)
def test_what_a_user_may_not_make(
    closed: TestClient,
    ada: Account,
    engine: sa.Engine,
    content: dict[str, Any],
    status: int,
    fields: dict[str, str],
) -> None:
    answer = make(closed, ada.basic, **content)

    assert refusal(answer)[::2] == (status, fields)
    assert [row[1] for row in dump(engine)["tokens"]] == ["operator"]


def test_operators_make_tokens_of_every_kind(
    closed: TestClient, operator: dict[str, str], engine: sa.Engine
) -> None:
    one, other = add_users(engine, 2)
    plain: dict[str, Any] = {"scopes": []}
    user = make(closed, operator, user_id=one)
    second = make(closed, operator, kind="operator", **plain)
    some = make(
        closed,
        operator,
        kind="terminator",
        user_ids=[other, one, one],
        hostnames=["WWW.Example.com", "*.example.com"],
        **plain,
    )
    every = make(closed, operator, kind="terminator", **plain)

    assert [made.status_code for made in (user, second, some, every)] == [201] * 4
    assert (user.json["kind"], user.json["user_id"]) == ("user", one)
    assert closed.simulate_get("/users", headers=bearer(second.json["token"])).status_code == 200
    assert some.json["user_ids"] == [one, other]
    assert some.json["hostnames"] == ["*.example.com", "www.example.com"]
    assert (every.json["user_ids"], every.json["hostnames"]) == (None, None)


@pytest.mark.parametrize(
    ("content", "status", "fields"),
    [
        ({}, 400, {"user_id": "required"}),
        ({"user_id": 2**62}, 422, {"user_id": "unknown_user"}),
        ({"kind": "operator"}, 422, {"scopes": "unfit"}),
        ({"kind": "operator", "scopes": [], "user_id": 1}, 422, {"user_id": "unfit"}),
        ({"kind": "terminator", "scopes": [], "user_ids": []}, 422, {"user_ids": "invalid_value"}),
        (
            {"kind": "terminator", "scopes": [], "user_ids": [2**62]},
            422,
            {"user_ids": "unknown_user"},
        ),
        (
            {"kind": "terminator", "scopes": [], "hostnames": ["a b"]},
            422,
            {"hostnames": "invalid_value"},
        ),
    ],
)
def test_what_an_operator_is_refused(
    closed: TestClient,
    operator: dict[str, str],
    content: dict[str, Any],
    status: int,
    fields: dict[str, str],
) -> None:
    assert refusal(make(closed, operator, **content))[::2] == (status, fields)


def test_a_users_token_makes_no_tokens(closed: TestClient, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)

    answer = make(closed, bearer(make_token(engine, "user", owner)))
    assert refusal(answer) == (403, "forbidden", {})


def test_a_revoked_token_opens_nothing_from_the_next_request_on(
    closed: TestClient, backend: Backend, ada: Account
) -> None:
    """In another process as well, whatever it has in its caches."""
    other_app = create_app(backend.closed())
    other = TestClient(other_app)
    made = make(closed, ada.basic, scopes=SCOPES).json
    own, path = bearer(made["token"]), f"/users/{ada.id}/certificates"
    for client in (closed, other, closed, other):
        assert client.simulate_get(path, headers=own).status_code == 200
    assert closed.simulate_delete(f"/tokens/{made['id']}", headers=own).status_code == 204

    for client in (other, closed):
        answer = client.simulate_get(path, headers=own)
        assert refusal(answer) == (401, "unauthenticated", {})
        assert "revoked" in answer.json["detail"]
    other_app.close()


def test_a_token_for_less_revokes_itself_alone(
    closed: TestClient, ada: Account, operator: dict[str, str]
) -> None:
    less, more = (make(closed, ada.basic, scopes=scopes).json for scopes in (["webhooks"], SCOPES))
    own = bearer(less["token"])

    answer = closed.simulate_delete(f"/tokens/{more['id']}", headers=own)
    assert refusal(answer) == (403, "forbidden", {})
    assert closed.simulate_delete(f"/tokens/{less['id']}", headers=own).status_code == 204
    assert closed.simulate_delete(f"/tokens/{more['id']}", headers=operator).status_code == 204
    # A request that is repeated is no failure.
    assert closed.simulate_delete(f"/tokens/{more['id']}", headers=operator).status_code == 204


def test_a_user_is_listed_its_own_and_an_operator_all(
    closed: TestClient, operator: dict[str, str], engine: sa.Engine
) -> None:
    one, other = add_users(engine, 2)
    mine = [make_token(engine, "user", one) for _ in range(3)]
    theirs = make_token(engine, "user", other)

    def ids(headers: dict[str, str], query: str = "") -> list[int]:
        answer = closed.simulate_get("/tokens", headers=headers, query_string=query)
        return [token["id"] for token in answer.json]

    assert ids(bearer(mine[0])) == [token.id for token in mine]
    assert ids(bearer(mine[0]), f"user_id={other}") == [token.id for token in mine]
    assert ids(bearer(mine[0]), f"limit=1&after={mine[0].id}") == [mine[1].id]
    assert ids(operator, f"user_id={other}") == [theirs.id]
    assert {theirs.id, *(token.id for token in mine)} < {*ids(operator)}
    page = closed.simulate_get("/tokens", headers=bearer(mine[0]), query_string="limit=2")
    assert page.headers["Link"] == f'</tokens?limit=2&after={mine[1].id}>; rel="next"'


def test_last_used_is_known_to_the_minute(
    closed: TestClient, engine: sa.Engine, operator: dict[str, str]
) -> None:
    (owner,) = add_users(engine, 1)
    now = datetime.now(UTC)
    fresh, older = now - timedelta(seconds=30), now - timedelta(minutes=2)
    never, lately, once = (
        make_token(engine, "user", owner, last_used_at=used) for used in (None, fresh, older)
    )
    for token in (lately, never, once):
        assert closed.simulate_get("/tokens", headers=bearer(token)).status_code == 200

    def used() -> dict[int, datetime | None]:
        with engine.connect() as connection:
            rows = connection.execute(sa.select(Token.id, Token.last_used_at))
            return {row.id: row.last_used_at for row in rows}

    until(lambda: used()[once.id] != older and used()[never.id] is not None)
    assert used()[lately.id] == fresh
    assert all(now <= (used()[token.id] or older) for token in (never, once))


def test_who_signs_in_and_what_becomes_of_tokens_is_recorded(
    closed: TestClient, ada: Account, operator: dict[str, str]
) -> None:
    for email in (ada.email, "nobody@example.com"):
        sign_in(closed, email, "wrong")
    made = make(closed, ada.basic).json
    token = f"/tokens/{made['id']}"
    for _ in range(2):
        closed.simulate_delete(token, headers=operator)

    own = closed.simulate_get(f"/users/{ada.id}/audit", headers=operator)
    nobodys = closed.simulate_get("/audit", headers=operator)
    said = [(entry["action"], entry["outcome"], entry["object"]) for entry in own.json]
    assert said[1:] == [
        ("user.sign_in", "done", None),
        ("token.create", "done", token),
        ("token.revoke", "done", token),
        ("token.revoke", "unchanged", token),
    ]
    assert [(entry["action"], entry["outcome"]) for entry in nobodys.json] == [
        ("user.sign_in", "refused")
    ] * 2
    for secret in (ada.email, ada.password, "nobody@", made["token"][-49:]):
        assert secret not in own.text + nobodys.text


def test_without_an_entry_there_is_no_token_and_none_is_revoked(
    closed: TestClient, ada: Account, operator: dict[str, str], engine: sa.Engine
) -> None:
    made = make(closed, operator, user_id=ada.id).json
    seen = closed.simulate_get(f"/users/{ada.id}/audit", headers=operator).json
    put_in_the_way(engine, ada.id, len(seen) + 1)

    answers = [
        make(closed, operator, user_id=ada.id),
        make(closed, ada.basic),
        closed.simulate_delete(f"/tokens/{made['id']}", headers=operator),
    ]
    assert [answer.status_code for answer in answers] == [500] * 3
    kept = closed.simulate_get("/tokens", headers=operator, params={"user_id": ada.id}).json
    assert [(token["id"], token["revoked_at"]) for token in kept] == [(made["id"], None)]


@pytest.mark.parametrize("password", ["wrong", "", "x" * 2000, "\x00", "\ud7ff"])
def test_a_wrong_password_makes_nothing(closed: TestClient, ada: Account, password: str) -> None:
    answer = sign_in(closed, ada.email, password)

    assert refusal(answer) == (401, "unauthenticated", {})
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("email", ["nobody@example.com", "nobody", "\x00@x", "x" * 300 + "@x", ""])
def test_nobodys_email_is_answered_as_a_wrong_password(
    closed: TestClient, ada: Account, email: str
) -> None:
    known, unknown = sign_in(closed, ada.email, "wrong"), sign_in(closed, email, "wrong")

    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


@pytest.mark.parametrize("credentials", ["", "?", "QQ==", "Og", "/w==", "é", "YTpi YTpi"])
def test_what_is_no_basic_is_refused(closed: TestClient, credentials: str) -> None:
    answer = make(closed, {"Authorization": f"Basic {credentials}"})

    assert refusal(answer) == (401, "unauthenticated", {})


def sign_in(client: TestClient, email: str, password: str, peer: str | None = None) -> Result:
    return client.simulate_post(
        "/tokens",
        json=READ,
        headers={**basic(email, password), "X-Request-Id": "the-same"},
        remote_addr=peer or an_address(),
    )


@pytest.fixture
def most(closed: TestClient, backend: Backend) -> int:
    """How many attempts may fail: in all processes together, or where there is no Redis in one."""
    if backend.name == "sqlite":
        return 5
    until(lambda: closed.simulate_get("/healthcheck").json["cache"] == 1)
    return 10


@pytest.mark.both_backends
def test_too_many_failures_close_an_account(closed: TestClient, ada: Account, most: int) -> None:
    for _ in range(3):
        assert sign_in(closed, ada.email, ada.password).status_code == 201
    for _ in range(most):
        assert sign_in(closed, ada.email.upper(), "wrong").status_code == 401

    answer = sign_in(closed, ada.email, ada.password)
    assert refusal(answer) == (429, "too-many-requests", {})
    assert 1 <= int(answer.headers["Retry-After"]) <= 900


@pytest.mark.both_backends
def test_too_many_failures_close_an_address(
    closed: TestClient, ada: Account, operator: dict[str, str], most: int
) -> None:
    peer = an_address()
    for number in range(most):
        assert sign_in(closed, f"nobody{number}@{peer}", "wrong", peer).status_code == 401

    assert sign_in(closed, ada.email, ada.password, peer).status_code == 429
    assert sign_in(closed, ada.email, ada.password).status_code == 201
    # A token is no guess.
    answer = closed.simulate_get("/tokens", headers=operator, remote_addr=peer)
    assert answer.status_code == 200


@pytest.mark.parametrize("registration", ["operators", "open"])
def test_who_registers_users(
    backend: Backend, engine: sa.Engine, operator: dict[str, str], registration: str
) -> None:
    app = create_app(backend.closed(CC_REGISTRATION=registration))
    client = TestClient(app)

    anybody = client.simulate_post("/users", json=a_user())
    assert anybody.status_code == (201 if registration == "open" else 401)
    assert client.simulate_post("/users", json=a_user(), headers=operator).status_code == 201
    assert client.simulate_get("/users").status_code == 401
    app.close()


def test_a_user_changes_and_deletes_itself(closed: TestClient, ada: Account) -> None:
    own, path = bearer(make(closed, ada.basic, scopes=SCOPES).json["token"]), f"/users/{ada.id}"

    answer = closed.simulate_patch(path, json={"name": "Ada"}, headers=own)
    assert (answer.status_code, answer.json["name"]) == (200, "Ada")
    assert closed.simulate_get(path, headers=own).json == answer.json
    assert closed.simulate_delete(path, headers=own).status_code == 204
    assert closed.simulate_get(path, headers=own).status_code == 401


def test_an_open_service_makes_no_tokens(client: TestClient, engine: sa.Engine) -> None:
    """Every client has all permissions. A token would still be valid for the database later."""
    (owner,) = add_users(engine, 1)

    for content in ({"user_id": owner}, {"kind": "operator", "scopes": []}):
        assert refusal(make(client, {}, **content)) == (409, "conflict", {})
    assert dump(engine)["tokens"] == []


def test_an_open_service_asks_for_no_token(client: TestClient, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)

    for headers in ({}, bearer("garbage"), basic("a@b.c", "wrong")):
        answer = client.simulate_get(f"/users/{owner}", headers=headers)
        assert (answer.status_code, answer.headers["CC-Mode"]) == (200, "open")


def until(happens: Callable[[], bool]) -> None:
    """Waits until something has happened."""
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.01)
