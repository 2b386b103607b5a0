"""Webhooks and events over HTTP; what is sent is tests/services/webhooks/test_dispatcher.py's."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.models import Delivery, WebhookSecret

from . import refusal, self_signed, store

pytestmark = pytest.mark.one_backend

HOOK = {"url": "https://hooks.example.com/certificates"}


def kinds(client: TestClient, owner: int, query: str = "") -> list[str]:
    return [event["type"] for event in client.simulate_get(f"/users/{owner}/events{query}").json]


def audited(client: TestClient, owner: int) -> list[tuple[str, str]]:
    entries = client.simulate_get(f"/users/{owner}/audit").json
    return [(entry["action"], entry["outcome"]) for entry in entries]


def test_each_change_is_an_event_and_no_change_is_none(client: TestClient, owner: int) -> None:
    path = store(client, owner, self_signed("a.example"))
    for active in (True, True, False, True):
        client.simulate_patch(f"{path}/active", json={"active": active})
    client.simulate_put(path, json=self_signed("a.example"))
    client.simulate_post(f"{path}/rollback", json={"version": 1})
    client.simulate_delete(path)
    store(client, owner, self_signed("a.example"), active=True)

    assert kinds(client, owner) == [
        "certificate.created",
        "certificate.activated",
        "certificate.deactivated",
        "certificate.activated",
        "certificate.replaced",
        "certificate.rolled_back",
        "certificate.deactivated",
        "certificate.deleted",
        "certificate.created",
        "certificate.activated",
    ]
    client.simulate_delete(f"/users/{owner}")
    assert kinds(client, owner)[-1] == "user.deleted"


def test_events_come_in_pages(client: TestClient, owner: int) -> None:
    for name in ("a.example", "b.example", "c.example"):
        store(client, owner, self_signed(name))
    page = client.simulate_get(f"/users/{owner}/events?limit=2")

    last = page.json[-1]["id"]
    assert f"after={last}" in page.headers["Link"]
    rest = client.simulate_get(f"/users/{owner}/events?after={last}")
    assert [event["data"]["hostnames"] for event in rest.json] == [["c.example"]]
    assert "Link" not in rest.headers
    assert client.simulate_get("/users/9223372036854775807/events").status_code == 404


def test_nobody_is_told_where_nobody_is_to_be(
    client: TestClient, owner: int, engine: sa.Engine
) -> None:
    client.simulate_post(f"/users/{owner}/webhooks", json=HOOK)
    path = store(client, owner, self_signed("a.example"))
    client.simulate_patch(f"{path}/active", json={"active": True, "notify": False})

    assert kinds(client, owner) == ["certificate.created", "certificate.activated"]
    with engine.connect() as connection:
        assert len(connection.execute(sa.select(Delivery)).all()) == 1


@pytest.mark.parametrize("above", ["/users/{}", ""], ids=["user", "operators"])
def test_an_endpoints_life(client: TestClient, owner: int, above: str, engine: sa.Engine) -> None:
    collection = f"{above.format(owner)}/webhooks"
    made = client.simulate_post(collection, json={**HOOK, "description": "Ours"})
    assert made.status_code == 201
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made.json["secret"])
    path = made.headers["Location"]
    shown = client.simulate_get(path)
    assert shown.json == {name: of for name, of in made.json.items() if name != "secret"}
    assert client.simulate_get(collection).json == [shown.json]
    with engine.connect() as connection:
        (wrapped,) = connection.execute(sa.select(WebhookSecret.wrapped)).scalars()
        assert made.json["secret"].encode() not in bytes(wrapped)

    paused = client.simulate_patch(path, json={"state": "paused", "events": ["user.deleted"]})
    assert (paused.json["state"], paused.json["events"]) == ("paused", ["user.deleted"])
    stale = {"If-Match": shown.headers["ETag"]}
    assert client.simulate_delete(path, headers=stale).status_code == 412
    assert refusal(client.simulate_post(f"{path}/test"))[:2] == (409, "conflict")
    client.simulate_patch(path, json={"state": "active"})
    tried = client.simulate_post(f"{path}/test")
    assert tried.status_code == 202
    (delivery,) = client.simulate_get(f"{path}/deliveries?status=pending").json
    assert (delivery["event_id"], delivery["type"]) == (tried.json["event_id"], "webhook.test")
    assert client.simulate_get(f"{path}/deliveries?status=dead").json == []
    again = client.simulate_post(f"{path}/deliveries/{delivery['event_id']}/redeliver")
    assert again.status_code == 202
    assert client.simulate_post(f"{path}/replay", json={"after": 0}).json["count"] == 0
    other = client.simulate_post(f"{path}/secret").json["secret"]
    assert other != made.json["secret"]
    assert client.simulate_delete(path).status_code == 204
    assert client.simulate_get(path).status_code == 404
    if above:
        assert audited(client, owner) == [
            ("webhook.create", "done"),
            ("webhook.change", "done"),
            ("webhook.delete", "refused"),
            ("webhook.test", "refused"),
            ("webhook.change", "done"),
            ("webhook.test", "done"),
            ("webhook.redeliver", "done"),
            ("webhook.replay", "done"),
            ("webhook.new_secret", "done"),
            ("webhook.delete", "done"),
        ]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"url": "http://10.0.0.1/"}, "target_forbidden"),
        ({"url": "ftp://hooks.example.com"}, "target_forbidden"),
        ({"url": "https://user:password@hooks.example.com"}, "target_forbidden"),
        ({"url": 1}, "wrong_type"),
        ({"events": []}, "invalid_value"),
        ({"events": ["certificate.eaten"]}, "invalid_value"),
        ({"secret": "whsec_mine"}, "unknown_field"),
    ],
    ids=str,
)
def test_what_cannot_be_an_endpoint(
    client: TestClient, owner: int, change: dict[str, Any], code: str
) -> None:
    answer = client.simulate_post(f"/users/{owner}/webhooks", json={**HOOK, **change})

    assert answer.status_code == 422
    assert [error["code"] for error in answer.json["errors"]] == [code]
    assert client.simulate_get(f"/users/{owner}/webhooks").json == []


def test_twenty_endpoints_are_enough(client: TestClient, owner: int) -> None:
    make: Callable[[], Any] = lambda: client.simulate_post(f"/users/{owner}/webhooks", json=HOOK)  # noqa: E731
    assert [make().status_code for _ in range(21)] == [201] * 20 + [409]
