import re
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.crypto.passwords import PasswordHashes

from ...conftest import Backend
from ...factories import a_user, an_upload
from ...tables import dump
from .. import refusal

pytestmark = pytest.mark.one_backend

SAME = [
    ("ada@example.com", "ADA@Example.COM"),
    ("straße@example.com", "STRASSE@EXAMPLE.COM"),
    ("straße@example.com", "STRAẞE@example.com"),
    ("ΣΊΣΥΦΟΣ@example.com", "σίσυφος@example.com"),
    ("σίσυφοσ@example.com", "σίσυφος@example.com"),
    ("İzmir@example.com", "i̇zmir@example.com"),
    ("caf\u00e9@example.com", "CAFE\u0301@example.com"),
    ("\u1fb7@example.com", "\u1fbc\u0342@example.com"),
    ("ǅ@example.com", "ǆ@example.com"),
    ("ada@ÉCOLE.fr", "ada@école.FR"),
]
DIFFERENT = [
    ("ada@example.com", "ada@example.org"),
    ("a@example.com", "á@example.com"),
    ("izmir@example.com", "İzmir@example.com"),
    ("ada@example.com", "ada+1@example.com"),
    ("a_a@example.com", "aXa@example.com"),
    ("a%@example.com", "a%%@example.com"),
]


def test_a_user_is_registered(client: TestClient) -> None:
    before = datetime.now(UTC)
    answer = client.simulate_post("/users", json=a_user(name="Ada", email="Ada@Example.com"))

    user_id = answer.json["id"]
    assert (answer.status_code, answer.json) == (201, {"id": user_id})
    assert answer.headers["Location"] == f"/users/{user_id}"
    shown = client.simulate_get(answer.headers["Location"])
    created_at = shown.json["created_at"]
    assert (shown.status_code, shown.json) == (
        200,
        {
            "id": user_id,
            "name": "Ada",
            "email": "Ada@Example.com",
            "email_verified": False,
            "created_at": created_at,
            "external_id": None,
            "labels": {},
        },
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", created_at)
    assert before <= datetime.fromisoformat(created_at) <= datetime.now(UTC)


@pytest.mark.both_backends
@pytest.mark.parametrize(
    "name", ["A", "Ада Лавлейс", "👩‍💻", "O'Brien; DROP TABLE users", '"\\/', " A ", "x" * 200]
)
def test_names_come_back_as_they_came(client: TestClient, name: str) -> None:
    user = client.simulate_post("/users", json=a_user(name=name)).headers["Location"]

    assert client.simulate_get(user).json["name"] == name


@pytest.mark.both_backends
@pytest.mark.parametrize(("first", "second"), SAME)
def test_an_email_in_another_case_is_the_same(
    client: TestClient, engine: sa.Engine, first: str, second: str
) -> None:
    user_id = client.simulate_post("/users", json=a_user(email=first)).json["id"]
    other = client.simulate_post("/users", json=a_user()).headers["Location"]
    before = dump(engine)
    conflict = (409, "conflict", {"email": "email_taken"})

    assert refusal(client.simulate_post("/users", json=a_user(email=second))) == conflict
    assert refusal(client.simulate_patch(other, json={"email": second})) == conflict
    found = client.simulate_get("/users", params={"email": second})
    assert [(user["id"], user["email"]) for user in found.json] == [(user_id, first)]
    assert dump(engine) == before


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_another_email_is_another(client: TestClient, first: str, second: str) -> None:
    client.simulate_post("/users", json=a_user(email=first))
    answer = client.simulate_post("/users", json=a_user(email=second))

    assert answer.status_code == 201
    found = client.simulate_get("/users", params={"email": second})
    assert [user["id"] for user in found.json] == [answer.json["id"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Grace"},
        {"email": "grace@example.com"},
        {"name": "Grace", "email": "grace@example.com"},
        {"password": "another password"},
        {"name": "Grace", "email": "grace@example.com", "password": "another password"},
        {},
    ],
)
def test_a_user_is_changed(
    client: TestClient, owner: int, stranger: int, changes: dict[str, Any]
) -> None:
    before = client.simulate_get(f"/users/{owner}").json
    others = client.simulate_get(f"/users/{stranger}").json
    answer = client.simulate_patch(f"/users/{owner}", json=changes)

    changes.pop("password", None)
    assert (answer.status_code, answer.json) == (200, {**before, **changes})
    assert client.simulate_get(f"/users/{owner}").json == answer.json
    assert client.simulate_get(f"/users/{stranger}").json == others


def test_a_user_keeps_an_email_in_another_case(client: TestClient) -> None:
    user = client.simulate_post("/users", json=a_user(email="ada@example.com"))
    answer = client.simulate_patch(
        user.headers["Location"], json={"email": "ADA@EXAMPLE.COM", "name": "Ada"}
    )

    assert (answer.status_code, answer.json["email"]) == (200, "ADA@EXAMPLE.COM")


def test_an_email_is_free_again(client: TestClient, owner: int, stranger: int) -> None:
    email = client.simulate_get(f"/users/{owner}").json["email"]
    client.simulate_patch(f"/users/{owner}", json={"email": "new@example.com"})
    assert client.simulate_patch(f"/users/{stranger}", json={"email": email}).status_code == 200

    client.simulate_delete(f"/users/{stranger}")
    assert client.simulate_post("/users", json=a_user(email=email)).status_code == 201


@pytest.mark.both_backends
def test_a_user_is_deleted_with_every_certificate(
    client: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    kept = client.simulate_post(f"/users/{stranger}/certificates", json=an_upload()).json["id"]
    paths = [
        client.simulate_post(f"/users/{owner}/certificates", json=an_upload()).headers["Location"]
        for _ in range(3)
    ]
    answer = client.simulate_delete(f"/users/{owner}")

    assert (answer.status_code, answer.content) == (204, b"")
    for path in [f"/users/{owner}", f"/users/{owner}/certificates", *paths]:
        assert client.simulate_get(path).status_code == 404
    assert client.simulate_delete(f"/users/{owner}").status_code == 404
    left = dump(engine)
    assert [row[0] for row in left["users"]] == [stranger]
    assert [row[0] for row in left["certificates"]] == [kept]


@pytest.mark.both_backends
def test_a_deleted_users_id_is_no_others(client: TestClient, owner: int) -> None:
    client.simulate_delete(f"/users/{owner}")

    assert client.simulate_post("/users", json=a_user()).json["id"] > owner


def test_a_password_is_stored_only_as_a_hash(
    client: TestClient, engine: sa.Engine, backend: Backend
) -> None:
    hashes = PasswordHashes(backend.config().password_cost)
    answers = [client.simulate_post("/users", json=a_user(password="first secret"))]
    user = answers[0].headers["Location"]
    first = dump(engine)
    answers.append(client.simulate_patch(user, json={"password": "second secret"}))
    second = dump(engine)
    answers += [client.simulate_get(user), client.simulate_get("/users")]

    column = columns_of_users(engine).index("password_hash")
    assert hashes.matches(first["users"][0][column], "first secret")
    assert hashes.matches(second["users"][0][column], "second secret")
    assert first["users"][0][column].startswith("$argon2id$")
    assert " secret" not in f"{first}{second}"
    assert not [answer.text for answer in answers if "secret" in answer.text]
    assert not [answer.text for answer in answers if "argon2" in answer.text]


def columns_of_users(engine: sa.Engine) -> list[str]:
    return [column["name"] for column in sa.inspect(engine).get_columns("users")]


@pytest.mark.parametrize("password", ["x", "\x00", "пароль 👩‍💻", "x" * 1024, " ", "\n"])
def test_any_text_is_a_password(client: TestClient, password: str) -> None:
    assert client.simulate_post("/users", json=a_user(password=password)).status_code == 201
