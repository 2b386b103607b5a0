"""Tokens in the console."""

from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from customer_certificates.console import cookies

from ..credentials import bearer
from .conftest import Console


def test_a_customer_creates_a_token_and_revokes_it(
    page: Page, console: Console, customer: dict[str, Any], look: Callable[[str], None]
) -> None:
    page.goto(f"/console/users/{customer['id']}/tokens")
    page.get_by_role("link", name="Create a token").click()
    page.get_by_label("Name", exact=True).fill("backup of the web server")
    page.get_by_label("Valid for days").fill("30")
    page.get_by_role("button", name="Create the token").click()
    expect(page.get_by_role("alert")).to_contain_text("scopes is missing.")
    look("token-new")
    page.get_by_label("Read certificates and hostnames").check()
    page.get_by_role("button", name="Create the token").click()

    text = page.locator("#token").inner_text()
    certificates = f"/users/{customer['id']}/certificates"
    with httpx.Client(base_url=console.url, headers=bearer(text)) as program:
        assert program.get(certificates).status_code == 200
        look("token-secret")
        page.get_by_role("link", name="To the tokens").click()
        assert text not in page.content()
        row = page.get_by_role("row", name="backup of the web server")
        expect(row).to_contain_text("Read certificates and hostnames certificates:read")
        expect(row).to_contain_text("in 29 days")
        look("tokens")
        row.get_by_text("Revoke…").click()
        row.get_by_role("button", name="Revoke the token").click()
        expect(page.get_by_role("status")).to_contain_text("The token is revoked.")
        assert program.get(certificates).status_code == 401
    expect(page.get_by_text("There are no valid tokens.")).to_be_visible()


def test_a_password_creates_no_token_of_another_user(console: Console) -> None:
    mine, other = console.user()["id"], console.user()["id"]
    secret = console.session(user_id=mine)
    headers = {"Cookie": f"{cookies.NAME}={secret}", "Sec-Fetch-Site": "same-origin"}
    form = {
        "csrf": cookies.csrf_token(secret),
        "name": "a",
        "scopes": "webhooks",
        "expires_in_days": "1",
    }
    with httpx.Client(base_url=console.url, headers=headers) as browser:
        path = f"/console/users/{other}/tokens/new"
        assert browser.get(path).status_code == 404
        assert browser.post(path, data=form).status_code == 404
        created = browser.post(f"/console/users/{mine}/tokens/new", data=form)
        assert created.status_code == 201
        assert created.headers["Cache-Control"] == "no-store"
    assert console.api.get(f"/tokens?user_id={other}").json() == []


def test_a_session_without_a_password_creates_no_token(console: Console) -> None:
    user_id = console.user()["id"]
    secret = console.session(user_id=user_id, by_password=False)
    headers = {"Cookie": f"{cookies.NAME}={secret}"}
    with httpx.Client(base_url=console.url, headers=headers) as browser:
        path = f"/console/users/{user_id}/tokens"
        assert "sign in with your password" in browser.get(path).text
        assert browser.get(f"{path}/new").status_code == 403


def test_an_operator_creates_a_token_for_a_user(
    page: Page, console: Console, operator: object
) -> None:
    user_id = console.user()["id"]
    page.goto(f"/console/users/{user_id}/tokens/new")
    page.get_by_label("Name", exact=True).fill("made by an operator")
    page.get_by_label("Manage webhooks").check()
    page.get_by_role("button", name="Create the token").click()

    expect(page.locator("#token")).to_contain_text("ccert_user_")
    (token,) = console.api.get(f"/tokens?user_id={user_id}").json()
    assert (token["scopes"], token["by_password"]) == (["webhooks"], False)
