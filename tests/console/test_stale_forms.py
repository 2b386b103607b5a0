"""A form from an old page does not overwrite what somebody else has changed meanwhile."""

import re
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from falcon.testing import Result, TestClient

from ..factories import an_upload
from ..owners import owner
from .visitor import HOST, OWN_PAGE, URL_ENCODED

__all__ = ["owner"]


class Case(NamedTuple):
    """A form, and a change of the same object by the API.

    `page` and `object` are relative to the user's. `shown` is in the page after the change.
    """

    page: str
    object: str
    tag: str
    fields: dict[str, str]
    method: str
    change: dict[str, Any]
    shown: str


_NEW_EMAIL = "new@example.com"
_ACCOUNT = {"name": "Ada", "email": "old@example.com"}
_CASES = {
    "an operator's form for a user": Case(
        *("", "", "account", {**_ACCOUNT, "action": "change", "labels": "env=test"}),
        *("PATCH", {"email": _NEW_EMAIL}, f'value="{_NEW_EMAIL}"'),
    ),
    "the account": Case(
        *("/settings", "", "account", {**_ACCOUNT, "action": "account"}),
        *("PATCH", {"email": _NEW_EMAIL}, f'value="{_NEW_EMAIL}"'),
    ),
    "expiry notices": Case(
        *("/settings", "/expiry", "expiry"),
        {"action": "expiry", "when": "own", "thresholds": "5d"},
        *("PUT", {"thresholds": ["21d"]}, 'value="21d"'),
    ),
    "quotas": Case(
        *("", "/quotas", "quotas", {"action": "quotas", "tokens": "5"}),
        *("PUT", {"webhooks": 13}, 'value="13"'),
    ),
    "a webhook": Case(
        *("/webhooks/{}", "/webhooks/{}", "webhook"),
        {"action": "edit", "url": "https://a.example/", "which": "all"},
        *("PATCH", {"description": "Changed meanwhile"}, 'value="Changed meanwhile"'),
    ),
    "labels": Case(
        *("/certificates/{}", "/certificates/{}", "labels"),
        {"action": "labels", "labels": "env=test"},
        *("PATCH", {"labels": {"plan": "gold"}}, "plan=gold"),
    ),
}


def _posted(client: TestClient, path: str, fields: dict[str, str]) -> Result:
    headers = {"Host": HOST, "Content-Type": URL_ENCODED, **OWN_PAGE}
    return client.simulate_post(path, body=urlencode(fields), headers=headers)


def _tag(page: Result, name: str) -> dict[str, str]:
    (tag,) = re.findall(f'name="tag_{name}" value="([^"]+)"', page.text)
    return {f"tag_{name}": tag}


@pytest.mark.one_backend
@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES)
def test_a_form_from_an_old_page_is_refused(client: TestClient, owner: int, case: Case) -> None:
    user = f"/users/{owner}"
    new: dict[str, dict[str, Any]] = {
        "webhooks": {"url": "https://a.example/"},
        "certificates": an_upload(),
    }
    kind = case.page.split("/")[1:2]
    number = ""
    if kind and kind[0] in new:
        created = client.simulate_post(f"{user}/{kind[0]}", json=new[kind[0]])
        number = str(created.json["id"])
    path, changed = (f"{user}{of.format(number)}" for of in (case.page, case.object))
    page = f"/console{path}"
    old = _tag(client.simulate_get(page), case.tag)
    answer = client.simulate_request(case.method, changed, json=case.change)
    assert answer.status_code == 200, answer.text
    stored = client.simulate_get(changed).json

    refused = _posted(client, page, {**case.fields, **old})

    assert refused.status_code == 412
    assert "It was changed meanwhile" in refused.text
    assert case.shown in refused.text
    assert client.simulate_get(changed).json == stored
    present = _tag(refused, case.tag)
    assert _posted(client, page, {**case.fields, **present}).status_code == 303
    assert client.simulate_get(changed).json != stored


@pytest.mark.one_backend
def test_a_form_that_was_refused_for_an_error_stays_one_from_an_old_page(
    client: TestClient, owner: int
) -> None:
    user, page = f"/users/{owner}", f"/console/users/{owner}"
    fields = {**_ACCOUNT, "action": "change"}
    old = _tag(client.simulate_get(page), "account")
    client.simulate_patch(user, json={"email": _NEW_EMAIL})
    invalid = _posted(client, page, {**fields, **old, "email": "nobody"})

    assert (invalid.status_code, _tag(invalid, "account")) == (422, old)
    assert _posted(client, page, {**fields, **old}).status_code == 412


@pytest.mark.one_backend
def test_a_new_use_of_a_quota_is_no_change_of_its_limits(client: TestClient, owner: int) -> None:
    page = f"/console/users/{owner}"
    tag = _tag(client.simulate_get(page), "quotas")
    client.simulate_post(f"/users/{owner}/certificates", json=an_upload())
    answer = _posted(client, page, {"action": "quotas", "tokens": "5", **tag})

    assert answer.status_code == 303
    assert client.simulate_get(f"/users/{owner}/quotas").json["tokens"]["limit"] == 5
