"""Signing in and out, as people do it."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from ..credentials import make_token
from ..factories import an_upload
from .conftest import Console


def test_a_customer_signs_in_and_sees_the_certificates(
    page: Page, console: Console, look: Callable[[str], None]
) -> None:
    user = console.user()
    console.upload(user["id"], an_upload())
    page.goto("/console")
    look("sign-in")
    page.get_by_label("Email address").fill(user["email"])
    page.get_by_label("Password", exact=True).fill(user["password"])
    page.get_by_role("button", name="Sign in", exact=True).click()

    expect(page.get_by_role("link", name="www.example.com")).to_be_visible()
    look("certificates")


def test_a_wrong_password_is_refused(page: Page, console: Console) -> None:
    user = console.user()
    page.goto("/console/sign-in")
    page.get_by_label("Email address").fill(user["email"])
    page.get_by_label("Password", exact=True).fill("not the password")
    page.get_by_role("button", name="Sign in", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("Wrong email address or password.")
    assert page.get_by_label("Email address").input_value() == user["email"]
    assert page.get_by_label("Password", exact=True).input_value() == ""


def test_an_operator_signs_in_with_a_token_and_out_again(page: Page, console: Console) -> None:
    page.goto("/console/sign-in")
    page.get_by_text("Operators").click()
    page.get_by_label("Operator token").fill(make_token(console.engine, "operator").text)
    page.get_by_role("button", name="Sign in as an operator").click()
    expect(page.get_by_text("Operator", exact=True)).to_be_visible()
    page.get_by_role("button", name="Sign out", exact=True).click()

    expect(page).to_have_url(f"{console.url}/console/sign-in")
    page.go_back()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
