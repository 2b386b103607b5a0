"""Labels and external ids: set, shown, and found by."""

from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.models import CertificateLabel, UserLabel

from ..credentials import bearer, make_token
from ..factories import a_user
from . import PROBLEM, refusal, self_signed, store

ENV, TEAM = {"env": "production"}, {"env": "production", "team": "a/b"}


def ids(client: TestClient, path: str, **wanted: Any) -> list[int]:
    answer = client.simulate_get(path, params=wanted, params_csv=False)
    assert answer.status_code == 200, answer.text
    return [shown["id"] for shown in answer.json]


def rows(engine: sa.Engine, kind: Any) -> list[Any]:
    with engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(sa.select(kind)))


def register(client: TestClient, **fields: Any) -> Result:
    return client.simulate_post("/users", json=a_user(**fields))


def test_a_user_is_found_by_external_id_and_labels(client: TestClient, engine: sa.Engine) -> None:
    one = register(client, external_id="crm-1", labels=TEAM).json["id"]
    two = register(client, external_id="crm-2", labels=ENV).json["id"]
    register(client)

    shown = client.simulate_get(f"/users/{one}").json
    assert (shown["external_id"], shown["labels"]) == ("crm-1", TEAM)
    assert ids(client, "/users", external_id="crm-2") == [two]
    assert ids(client, "/users", external_id="crm-3") == []
    assert ids(client, "/users", label="env=production") == [one, two]
    assert ids(client, "/users", label=["env=production", "team=a/b"]) == [one]
    assert ids(client, "/users", label="env=production", external_id="crm-2") == [two]

    changed = client.simulate_patch(f"/users/{one}", json={"external_id": None, "labels": {}})
    assert (changed.json["external_id"], changed.json["labels"]) == (None, {})
    assert ids(client, "/users", label="env=production") == [two]
    assert ids(client, "/users", external_id="crm-1") == []
    assert client.simulate_delete(f"/users/{two}").status_code == 204
    assert rows(engine, UserLabel) == []


def test_an_external_id_belongs_to_one_user(client: TestClient) -> None:
    register(client, external_id="crm-1")
    # The text of an error of the database quotes values.
    taken = {"email": "users.external_id@example.com"}
    other = register(client, **taken).headers["Location"]

    expected = (409, "conflict", {"external_id": "external_id_taken"})
    assert refusal(register(client, external_id="crm-1")) == expected
    assert refusal(client.simulate_patch(other, json={"external_id": "crm-1"})) == expected
    assert refusal(register(client, **taken))[2] == {"email": "email_taken"}


@pytest.mark.one_backend
@pytest.mark.parametrize("fields", [{"external_id": "crm-1"}, {"labels": ENV}])
def test_only_operators_label_users(
    closed: TestClient, engine: sa.Engine, owner: int, fields: dict[str, object]
) -> None:
    path = f"/users/{owner}"
    user, operator = (
        bearer(make_token(engine, "user", owner)),
        bearer(make_token(engine, "operator")),
    )

    refused = closed.simulate_patch(path, json=fields, headers=user)
    assert (refused.status_code, refused.json["type"]) == (403, PROBLEM + "forbidden")
    changed = closed.simulate_patch(path, json=fields, headers=operator)
    assert changed.status_code == 200
    # The row that authentication reads has them, too.
    assert closed.simulate_get(path, headers=user).json == changed.json
    assert fields.items() <= changed.json.items()


def test_a_certificate_is_found_by_its_labels(
    client: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    path = f"/users/{owner}/certificates"
    one = store(client, owner, self_signed("a.example.com"), labels=TEAM)
    two = store(client, owner, self_signed("b.example.com"), labels=ENV)
    store(client, owner, self_signed("c.example.com"))
    store(client, stranger, self_signed("d.example.com"), labels=TEAM)
    first, second = (int(each.rpartition("/")[2]) for each in (one, two))

    assert client.simulate_get(one).json["labels"] == TEAM
    assert ids(client, path, label="env=production") == [first, second]
    assert ids(client, path, label=["env=production", "team=a/b"]) == [first]
    assert ids(client, path, label="env=test") == []

    assert client.simulate_delete(two).status_code == 204
    assert client.simulate_delete(f"/users/{stranger}").status_code == 204
    assert {row[0] for row in rows(engine, CertificateLabel)} == {first}


def test_labels_change_and_the_version_stays(client: TestClient, owner: int) -> None:
    path = store(client, owner, self_signed("a.example.com"), labels=ENV)
    before = client.simulate_get(path)
    tag = {"If-Match": before.headers["ETag"]}

    changed = client.simulate_patch(path, json={"labels": {"team": "b"}}, headers=tag)

    assert (changed.status_code, changed.json["labels"]) == (200, {"team": "b"})
    assert {**changed.json, "labels": ENV, "serving": []} == before.json
    assert ids(client, f"/users/{owner}/certificates", label="env=production") == []
    assert len(ids(client, f"/users/{owner}/certificates", label="team=b")) == 1
    stale = client.simulate_patch(path, json={"labels": {}}, headers=tag)
    assert stale.status_code == 412
    assert client.simulate_patch(path, json={}).status_code == 400
    other = path.replace(f"/users/{owner}/", f"/users/{owner + 1}/")
    assert client.simulate_patch(other, json={"labels": {}}).status_code == 404
    audited = client.simulate_get(f"/users/{owner}/audit").json
    outcomes = [one["outcome"] for one in audited if one["action"] == "certificate.change"]
    assert outcomes == ["done", "refused"]


def test_a_replacement_keeps_the_labels_unless_it_has_some(client: TestClient, owner: int) -> None:
    path = store(client, owner, self_signed("a.example.com"), labels=ENV)
    renewed = self_signed("a.example.com")

    assert client.simulate_put(path, json=renewed).json["labels"] == ENV
    for labels in (TEAM, {}):
        answer = client.simulate_put(path, json={**renewed, "labels": labels})
        assert (answer.json["version"], answer.json["labels"]) == (2, labels)
        assert client.simulate_get(path).json["labels"] == labels
    assert ids(client, f"/users/{owner}/certificates", label="env=production") == []


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "labels",
    [
        {"Env": "x"},
        {"env": "X"},
        {"": "x"},
        {"env": ""},
        {"env": "x" * 64},
        {"env": "x\n"},
        {"env": None},
        {f"name-{number}": "x" for number in range(21)},
        ["env"],
        None,
    ],
)
def test_labels_are_limited(client: TestClient, owner: int, labels: object) -> None:
    path = store(client, owner, self_signed("a.example.com"))

    answer = client.simulate_patch(path, json={"labels": labels})

    code = "invalid_value" if isinstance(labels, dict) else "wrong_type"
    assert refusal(answer) == (422, "invalid", {"labels": code})
    assert "labels must be an object with at most 20 members" in answer.json["errors"][0]["detail"]


@pytest.mark.one_backend
@pytest.mark.parametrize("label", ["env", "env=", "=x", "Env=x", "a=b=c", ["a=b"] * 1 + ["x"]])
def test_a_search_needs_name_and_value(client: TestClient, owner: int, label: object) -> None:
    for path in ("/users", f"/users/{owner}/certificates"):
        answer = client.simulate_get(path, params={"label": label}, params_csv=False)
        assert refusal(answer) == (422, "invalid", {"label": "invalid_parameter"})
    six = {"label": [f"n{number}=x" for number in range(6)]}
    answer = client.simulate_get("/users", params=six, params_csv=False)
    assert refusal(answer)[2] == {"label": "invalid_parameter"}
