"""Hostnames and their challenges, as people prove them."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from ..dns_server import DnsServer, unused_label
from ..factories import an_upload
from .conftest import Console


def test_a_customer_proves_a_hostname(
    page: Page, customer: dict[str, Any], dns_server: DnsServer, look: Callable[[str], None]
) -> None:
    name = f"{unused_label()}.example"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"/console/users/{customer['id']}/hostnames")
    page.get_by_label("Prove control of a hostname").fill("not a name!")
    page.get_by_role("button", name="Get the DNS record").click()
    expect(page.get_by_role("alert")).to_contain_text("This is not a hostname.")

    page.get_by_label("Prove control of a hostname").fill(name)
    page.get_by_role("button", name="Get the DNS record").click()
    page.get_by_role("button", name="Copy: Value").click()
    expect(page.get_by_role("button", name="Copy: Value")).to_have_text("Copied")
    value = page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text(f"No TXT record at _customer-certificates.{name}")).to_be_visible()
    look("hostname-pending")

    dns_server.set_text(f"_customer-certificates.{name}", value)
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("status")).to_contain_text("The hostname is proven.")
    look("hostname-proven")

    page.get_by_text("Release the hostname…").click()
    page.get_by_role("button", name=f"Release {name}").click()
    expect(page.get_by_role("status")).to_contain_text("The hostname is released.")


def test_the_list_says_who_owns_a_hostname_and_which_certificate_serves_it(
    page: Page, console: Console, customer: dict[str, Any], look: Callable[[str], None]
) -> None:
    label, other = unused_label(), console.user()["id"]
    mine, taken, inactive = (f"{name}-{label}.example" for name in ("mine", "taken", "later"))
    console.upload(other, an_upload(taken, active=True))
    served = console.upload(customer["id"], an_upload(mine, active=True))
    console.upload(customer["id"], an_upload(inactive, active=False))
    console.api.post(f"/users/{customer['id']}/hostnames/{taken}/challenge")
    page.goto(f"/console/users/{customer['id']}/hostnames")

    expect(page.get_by_role("row", name=mine)).to_contain_text(
        f"owned, unproven Certificate {served}"
    )
    expect(page.get_by_role("row", name=inactive)).to_contain_text("not owned No certificate")
    expect(page.get_by_role("row", name=taken)).to_contain_text(
        "owned by another user No certificate pending"
    )
    look("hostnames")
    page.get_by_role("link", name=mine).click()
    expect(page.get_by_role("link", name=f"Certificate {served}")).to_be_visible()
    # It is in use.
    expect(page.get_by_text("Release the hostname…")).to_have_count(0)


def test_a_challenge_is_deleted(page: Page, console: Console, customer: dict[str, Any]) -> None:
    name = f"{unused_label()}.example"
    page.goto(f"/console/users/{customer['id']}/hostnames/{name}")
    page.get_by_role("button", name="Get the DNS record").click()
    page.get_by_text("Delete the challenge…").click()
    page.get_by_role("button", name="Delete the challenge").click()

    expect(page.get_by_role("status")).to_contain_text("The challenge is deleted.")
    path = f"/users/{customer['id']}/hostnames/{name}/challenge"
    assert console.api.get(path).status_code == 404
