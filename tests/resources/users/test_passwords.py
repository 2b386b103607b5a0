"""Which passwords `prd` accepts, and what a change of one does to tokens."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.services.access.authentication import Authentication
from customer_certificates.services.principal import Principal

from ...credentials import bearer
from ...factories import a_user
from ...tables import dump
from .. import refusal
from .test_tokens import Account, make, operator

pytestmark = pytest.mark.one_backend

__all__ = ["operator"]

NEW = "vexing hyphen marmalade"


@pytest.fixture
def ada(closed: TestClient, operator: dict[str, str]) -> Account:
    return Account(closed, operator)


@pytest.fixture
def opens(closed: TestClient, ada: Account) -> Callable[[str], bool]:
    """Whether a token opens something."""

    def asked(text: str) -> bool:
        answer = closed.simulate_get(f"/users/{ada.id}", headers=bearer(text))
        return answer.status_code == 200

    return asked


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("x", "password_too_short"),
        ("seven77", "password_too_short"),
        ("      a      ", "password_too_short"),
        ("password1", "password_too_common"),
        ("PassWord1", "password_too_common"),
        (" 1q2w3e4r5t ", "password_too_common"),
        ("Ada Lovelace", "password_is_known"),
        ("ada.LOVELACE", "password_is_known"),
        ("Ada.Lovelace@Example.com", "password_is_known"),
    ],
)
def test_a_weak_password_is_refused(
    closed: TestClient, operator: dict[str, str], engine: sa.Engine, password: str, code: str
) -> None:
    known = {"name": "Ada Lovelace", "email": "ada.lovelace@example.com"}
    user = closed.simulate_post("/users", json=a_user(**known), headers=operator)
    path = user.headers["Location"]
    before = dump(engine)["users"]
    other = a_user(**{**known, "email": "ada.lovelace@example.org"}, password=password)
    if "@" in password:
        other["email"] = known["email"]

    for answer in (
        closed.simulate_post("/users", json=other, headers=operator),
        closed.simulate_patch(path, json={"password": password}, headers=operator),
    ):
        assert refusal(answer) == (422, "invalid", {"password": code})
    assert dump(engine)["users"] == before


def test_a_password_is_compared_with_the_name_that_comes_with_it(
    closed: TestClient, operator: dict[str, str], ada: Account
) -> None:
    path = f"/users/{ada.id}"
    changes = {"name": "Augusta King", "password": "augusta king"}

    answer = closed.simulate_patch(path, json=changes, headers=operator)
    assert refusal(answer) == (422, "invalid", {"password": "password_is_known"})


@pytest.mark.parametrize(
    "password", ["correct horse battery staple", "\N{PILE OF POO}" * 8, "12345678\npassword"]
)
def test_other_passwords_are_accepted(
    closed: TestClient, operator: dict[str, str], password: str
) -> None:
    answer = closed.simulate_post("/users", json=a_user(password=password), headers=operator)

    assert answer.status_code == 201


@pytest.mark.parametrize("password", ["x", "password", "user"])
def test_an_open_service_accepts_any_password(client: TestClient, password: str) -> None:
    sent = a_user(name="user", password=password)

    assert client.simulate_post("/users", json=sent).status_code == 201


def test_a_change_revokes_the_tokens_that_were_made_with_the_password(
    closed: TestClient,
    operator: dict[str, str],
    ada: Account,
    engine: sa.Engine,
    opens: Callable[[str], bool],
) -> None:
    """All of them, the one that asks among them; not those that an operator made, nor others'."""
    every = ["certificates:read", "certificates:write", "webhooks", "audit:read"]
    made = [make(closed, ada.basic, scopes=every).json for _ in range(2)]
    by_operator = make(closed, operator, user_id=ada.id).json
    other = Account(closed, operator)
    of_other = make(closed, other.basic).json
    assert [one["by_password"] for one in (*made, by_operator)] == [True, True, False]
    own = bearer(made[0]["token"])

    answer = closed.simulate_patch(f"/users/{ada.id}", json={"password": NEW}, headers=own)
    assert answer.status_code == 200
    assert [opens(one["token"]) for one in (*made, by_operator)] == [False, False, True]
    assert "revoked" in closed.simulate_get("/tokens", headers=own).json["detail"]
    assert closed.simulate_get("/tokens", headers=bearer(of_other["token"])).status_code == 200
    entries = closed.simulate_get(f"/users/{ada.id}/audit", headers=operator).json
    assert entries[-1]["detail"] == {"fields": ["password"], "tokens_revoked": 2}
    events = closed.simulate_get(f"/users/{ada.id}/events", headers=operator).json
    assert [event["type"] for event in events] == ["user.password_changed"]
    assert make(closed, ada.basic).status_code == 401


def test_a_change_keeps_tokens_when_it_is_asked_to(
    closed: TestClient, operator: dict[str, str], ada: Account, opens: Callable[[str], bool]
) -> None:
    text = make(closed, ada.basic).json["token"]
    for changes in (
        {"password": NEW, "keep_tokens": True},
        {"name": "Ada"},
        {"name": "Ada", "keep_tokens": False},
    ):
        answer = closed.simulate_patch(f"/users/{ada.id}", json=changes, headers=operator)
        assert answer.status_code == 200
        assert opens(text)

    closed.simulate_patch(
        f"/users/{ada.id}", json={"password": NEW, "keep_tokens": False}, headers=operator
    )
    assert not opens(text)


def test_a_change_that_is_refused_revokes_nothing(
    closed: TestClient, operator: dict[str, str], ada: Account, opens: Callable[[str], bool]
) -> None:
    text = make(closed, ada.basic).json["token"]
    stale = {"If-Match": '"another"', **operator}

    answer = closed.simulate_patch(f"/users/{ada.id}", json={"password": NEW}, headers=stale)
    assert answer.status_code == 412
    assert opens(text)


@pytest.mark.both_backends
def test_no_token_is_made_with_a_password_that_was_changed_meanwhile(
    closed: TestClient,
    operator: dict[str, str],
    ada: Account,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was right when it was looked at, and is changed before the token is stored."""
    password: Any = Authentication.password

    def then_changed(self: Authentication, *given: str) -> Principal:
        caller: Principal = password(self, *given)
        changed = closed.simulate_patch(
            f"/users/{ada.id}", json={"password": NEW}, headers=operator
        )
        assert changed.status_code == 200
        return caller

    monkeypatch.setattr(Authentication, "password", then_changed)
    before = dump(engine)["tokens"]
    assert refusal(make(closed, ada.basic)) == (409, "conflict", {})
    assert len(dump(engine)["tokens"]) == len(before)


def test_the_hash_of_a_password_is_not_printed() -> None:
    caller = Principal("user", "request", "peer", password_hash="$argon2id$secret")

    assert "secret" not in repr(caller)
