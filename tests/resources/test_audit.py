"""The record of who did what: an entry for each write, in its transaction."""

from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.models import AuditEntry
from customer_certificates.services.audit.hash_chain import GENESIS

from ..factories import a_pair, a_user, an_upload
from ..tables import NOW, dump
from . import refusal

HEADERS = {"X-Request-Id": "the-request"}


def entries(client: TestClient, path: str) -> list[dict[str, Any]]:
    answer = client.simulate_get(path)
    assert answer.status_code == 200, answer.json
    found: list[dict[str, Any]] = answer.json
    return found


def actions(client: TestClient, path: str) -> list[tuple[str, str, str | None]]:
    return [(one["action"], one["outcome"], one["object"]) for one in entries(client, path)]


def put_in_the_way(engine: sa.Engine, chain: int, seq: int) -> None:
    """An entry where the next one of the chain must go, so that it cannot be written."""
    texts = ("actor_kind", "action", "outcome", "request_id", "peer", "detail", "prev_hash", "hash")
    with engine.begin() as connection:
        connection.execute(
            sa.insert(AuditEntry).values(chain=chain, seq=seq, at=NOW, **dict.fromkeys(texts, "x"))
        )


def test_each_write_has_its_entry(client: TestClient) -> None:
    user = client.simulate_post("/users", json=a_user(), headers=HEADERS).headers["Location"]
    one = client.simulate_post(f"{user}/certificates", json=an_upload()).headers["Location"]
    active = {"active": True}
    client.simulate_patch(f"{one}/active", json=active)
    client.simulate_patch(f"{one}/active", json=active)
    client.simulate_put(one, json=an_upload())
    other = an_upload("other.example.com", allow_lost_hostnames=True)
    client.simulate_put(one, json=other)
    client.simulate_post(f"{one}/rollback", json={"version": 1, "allow_lost_hostnames": True})
    client.simulate_patch(f"{one}/active", json={"active": False})
    client.simulate_delete(one)
    client.simulate_patch(user, json={"name": "Ada", "password": "a new one"})
    client.simulate_patch(user, json={"name": "Ada"})
    client.simulate_delete(user)

    found = entries(client, f"{user}/audit")
    assert [(entry["action"], entry["outcome"], entry["object"]) for entry in found] == [
        ("user.register", "done", user),
        ("certificate.upload", "done", one),
        ("certificate.activate", "done", one),
        ("certificate.activate", "unchanged", one),
        ("certificate.replace", "unchanged", one),
        ("certificate.replace", "done", one),
        ("certificate.roll_back", "done", one),
        ("certificate.deactivate", "done", one),
        ("certificate.delete", "done", one),
        ("user.change", "done", user),
        ("user.change", "unchanged", user),
        ("user.delete", "done", user),
    ]
    assert [entry["seq"] for entry in found] == list(range(1, len(found) + 1))
    assert [entry["prev_hash"] for entry in found] == [
        GENESIS,
        *(entry["hash"] for entry in found[:-1]),
    ]
    first = found[0]
    assert (first["actor_kind"], first["request_id"], first["peer"]) == (
        "open",
        "the-request",
        "127.0.0.1",
    )
    assert found[9]["detail"] == {"fields": ["name", "password"], "tokens_revoked": 0}
    assert client.simulate_get(user).status_code == 404


def test_what_is_refused_for_what_is_stored_has_its_entry(
    client: TestClient, owner: int, stranger: int
) -> None:
    certificates = f"/users/{owner}/certificates"
    client.simulate_post(f"/users/{stranger}/certificates", json=an_upload(active=True))
    seen = len(entries(client, f"/users/{owner}/audit"))
    stored = client.simulate_post(certificates, json=an_upload()).headers["Location"]
    other = {"If-Match": '"another"'}
    email = client.simulate_get(f"/users/{stranger}").json["email"]

    assert client.simulate_post(certificates, json=an_upload(active=True)).status_code == 409
    assert client.simulate_post(certificates, json=an_upload(), headers=other).status_code == 412
    taken = client.simulate_patch(f"{stored}/active", json={"active": True})
    assert taken.status_code == 409
    lost = client.simulate_put(stored, json=an_upload("other.example.com"))
    assert lost.status_code == 409
    assert client.simulate_delete(stored, headers=other).status_code == 412
    assert client.simulate_patch(f"/users/{owner}", json={"email": email}).status_code == 409
    assert client.simulate_delete(f"/users/{owner}", headers=other).status_code == 412

    refused = entries(client, f"/users/{owner}/audit")[seen + 1 :]
    assert {entry["outcome"] for entry in refused} == {"refused"}
    assert [(entry["action"], entry["detail"]["reasons"]) for entry in refused] == [
        ("certificate.upload", ["hostname_taken"]),
        ("certificate.upload", ["precondition_failed"]),
        ("certificate.activate", ["hostname_taken"]),
        ("certificate.replace", ["hostnames_lost"]),
        ("certificate.delete", ["precondition_failed"]),
        ("user.change", ["email_taken"]),
        ("user.delete", ["precondition_failed"]),
    ]


def test_requests_that_change_nothing_do_not_fill_the_audit(
    client: TestClient, owner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that change something always have their entry."""
    monkeypatch.setattr("customer_certificates.services.audit.log.MOST_WITHOUT_CHANGE", 3)
    user = f"/users/{owner}"
    before = len(entries(client, f"{user}/audit"))
    for _ in range(5):
        assert client.simulate_patch(user, json={"name": "Ada"}).status_code == 200
    stale = {"If-Match": '"0"'}
    for _ in range(5):
        assert client.simulate_delete(user, headers=stale).status_code == 412
    assert client.simulate_patch(user, json={"name": "Grace"}).status_code == 200

    outcomes = [entry["outcome"] for entry in entries(client, f"{user}/audit")[before:]]
    assert outcomes.count("done") in (1, 2)
    assert len(outcomes) - outcomes.count("done") == 3
    assert outcomes[-1] == "done"


def test_a_registration_that_is_refused_is_nobodys(client: TestClient, owner: int) -> None:
    email = client.simulate_get(f"/users/{owner}").json["email"]
    assert client.simulate_post("/users", json=a_user(email=email)).status_code == 409

    assert actions(client, "/audit") == [("user.register", "refused", None)]
    assert email not in client.simulate_get("/audit").text


def test_what_touches_nothing_is_not_recorded(client: TestClient, owner: int) -> None:
    before = entries(client, f"/users/{owner}/audit")
    certificates = f"/users/{owner}/certificates"
    answers = [
        client.simulate_post(certificates, json={"body": "PEM"}),
        client.simulate_post(f"{certificates}/check", json=an_upload()),
        client.simulate_delete(f"{certificates}/1000000"),
        client.simulate_delete("/users/1000000"),
        client.simulate_get(certificates),
    ]

    assert [answer.status_code for answer in answers] == [400, 200, 404, 404, 200]
    assert entries(client, f"/users/{owner}/audit") == before
    assert refusal(client.simulate_get("/users/1000000/audit"))[0] == 404


def test_it_is_read_in_pages(client: TestClient, owner: int) -> None:
    for number in range(7):
        client.simulate_patch(f"/users/{owner}", json={"name": f"Name {number}"})
    found, path = [], f"/users/{owner}/audit?limit=3"
    while path:
        answer = client.simulate_get(*path.split("?")[:1], query_string=path.split("?")[1])
        found.append([entry["seq"] for entry in answer.json])
        link = answer.headers.get("Link", "")
        path = link[1 : link.index(">")] if link else ""

    assert found == [[1, 2, 3], [4, 5, 6], [7]]
    assert entries(client, f"/users/{owner}/audit") == [
        *client.simulate_get(f"/users/{owner}/audit", params={"limit": 4}).json,
        *client.simulate_get(f"/users/{owner}/audit", params={"after": 4}).json,
    ]
    assert refusal(client.simulate_get("/audit", params={"after": "x"}))[0] == 422


def test_no_entry_has_a_secret(client: TestClient, engine: sa.Engine) -> None:
    sent = a_user(password="a-canary-password", name="a-canary-name")
    user = client.simulate_post("/users", json=sent).headers["Location"]
    upload = an_upload(passphrase="a-canary-passphrase")
    one = client.simulate_post(f"{user}/certificates", json=upload).headers["Location"]
    client.simulate_patch(user, json={"password": "a-canary-password-too"})
    client.simulate_delete(one)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT * FROM audit")).all()

    text = str([tuple(row) for row in rows])
    assert len(rows) == 4
    assert "canary" not in text
    assert sent["email"] not in text
    key = a_pair().private_key
    assert key[60:90] not in text
    assert "PRIVATE" not in text


WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/users/{user}/certificates", an_upload()),
    ("POST", "/users/{user}/certificates", an_upload(active=True)),
    ("PATCH", "/users/{user}/certificates/{one}/active", {"active": True}),
    ("PATCH", "/users/{user}/certificates/{one}/active", {"active": False}),
    ("PUT", "/users/{user}/certificates/{one}", an_upload(chain=an_upload()["body"])),
    ("POST", "/users/{user}/certificates/{one}/rollback", {"version": 1}),
    ("DELETE", "/users/{user}/certificates/{one}", None),
    ("PATCH", "/users/{user}", {"name": "Somebody Else"}),
    ("DELETE", "/users/{user}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=lambda part: str(part)[:40])
def test_without_an_entry_there_is_no_action(
    client: TestClient, engine: sa.Engine, owner: int, method: str, path: str, body: Any
) -> None:
    one = client.simulate_post(f"/users/{owner}/certificates", json=an_upload()).json["id"]
    put_in_the_way(engine, owner, len(entries(client, f"/users/{owner}/audit")) + 1)
    before = dump(engine)
    answer: Result = client.simulate_request(method, path.format(user=owner, one=one), json=body)

    assert refusal(answer)[:2] == (500, "internal")
    assert dump(engine) == before


def test_without_an_entry_nobody_is_registered(
    client: TestClient, engine: sa.Engine, owner: int
) -> None:
    put_in_the_way(engine, owner + 1, 1)
    before = dump(engine)

    assert client.simulate_post("/users", json=a_user()).status_code == 500
    assert dump(engine) == before
