"""The account, the expiry notices and the quotas of a user in the console."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from .conftest import Console


def test_a_customer_changes_the_settings(
    page: Page, console: Console, customer: dict[str, Any], look: Callable[[str], None]
) -> None:
    path = f"/users/{customer['id']}"
    page.goto(f"/console{path}/settings")
    expect(page.get_by_text("not verified")).to_be_visible()
    page.get_by_role("button", name="Send the verification email again").click()
    expect(page.get_by_role("status")).to_contain_text("The verification email is on its way.")

    page.get_by_label("At my own times").check()
    page.get_by_label("My own times", exact=True).fill("30d, soon")
    page.get_by_role("button", name="Save the times").click()
    expect(page.get_by_role("alert")).to_contain_text("thresholds")
    look("settings-refused")
    page.get_by_label("My own times", exact=True).fill("30d, 10%")
    page.get_by_role("button", name="Save the times").click()
    expect(page.get_by_role("status")).to_contain_text("The change is stored.")
    assert console.api.get(f"{path}/expiry").json() == {"thresholds": ["30d", "10%"]}
    page.get_by_label("Default").check()
    page.get_by_role("button", name="Save the times").click()
    expect(page.get_by_role("status")).to_contain_text("The change is stored.")
    assert console.api.get(f"{path}/expiry").json() == {"thresholds": None}

    page.get_by_label("Name", exact=True).fill("Ada <Lovelace>")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Ada <Lovelace>")
    assert console.api.get(path).json()["name"] == "Ada <Lovelace>"
    expect(page.get_by_role("progressbar", name="Certificates: 0 of 10,000")).to_be_visible()
    look("settings")


def test_a_new_password_ends_the_sessions(
    page: Page, console: Console, customer: dict[str, Any]
) -> None:
    password = "a new password, 25 letters"
    page.goto(f"/console/users/{customer['id']}/settings")
    page.get_by_label("New password", exact=True).fill(password)
    page.get_by_label("New password again").fill("another one")
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("alert")).to_contain_text("The two passwords are different.")
    assert page.get_by_label("New password", exact=True).input_value() == ""

    page.get_by_label("New password", exact=True).fill(password)
    page.get_by_label("New password again").fill(password)
    page.get_by_role("button", name="Change the password").click()
    page.get_by_label("Email address").fill(customer["email"])
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("The password is changed.")
