"""The pages of operators: users, hostnames, terminators, webhooks and the audit log."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from customer_certificates.models import Delivery

from ..credentials import bearer, make_token
from ..factories import an_upload
from ..tables import add_webhook
from .conftest import Console

pytestmark = pytest.mark.usefixtures("operator")
_numbers = count(1)

Look = Callable[[str], None]


def test_an_operator_registers_a_user_and_finds_it(page: Page, look: Look) -> None:
    page.goto("/console/users")
    page.get_by_role("link", name="Register a user").click()
    page.get_by_label("Name", exact=True).fill("Ada <b>Lovelace</b>")
    page.get_by_label("Email address").fill("ada@shop.example")
    page.get_by_label("Password").fill("password")
    page.get_by_text("External id and labels").click()
    page.get_by_label("External id").fill("customer-4711")
    page.get_by_label("Labels").fill("plan=gold\nenv=production")
    page.get_by_role("button", name="Register the user").click()

    expect(page.get_by_role("alert")).to_contain_text("password")
    assert page.get_by_label("Labels").input_value() == "plan=gold\nenv=production"
    look("operator-new-user")

    page.get_by_label("Password").fill("correct horse battery staple")
    page.get_by_role("button", name="Register the user").click()
    expect(page.get_by_role("status")).to_contain_text("registered")
    expect(page.get_by_role("link", name="Upload a certificate")).to_be_visible()

    page.get_by_role("link", name="Users", exact=True).click()
    page.get_by_label("Label", exact=False).fill("plan=gold")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("link", name="Ada <b>Lovelace</b>", exact=True)).to_be_visible()
    look("operator-users")

    page.get_by_label("Email address").fill("ada")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("email must be an email address")
    assert page.get_by_label("Label", exact=False).input_value() == "plan=gold"


def test_an_operator_changes_and_deletes_a_user(page: Page, console: Console, look: Look) -> None:
    user = console.user()
    console.upload(user["id"], an_upload(f"deleted-{next(_numbers)}.example"))
    page.goto(f"/console/users/{user['id']}")
    page.get_by_label("Certificates", exact=True).fill("many")
    page.get_by_role("button", name="Save the quotas").click()
    expect(page.get_by_role("alert")).to_contain_text("certificates")
    page.get_by_label("Certificates", exact=True).fill("7")
    page.get_by_role("button", name="Save the quotas").click()
    expect(page.get_by_text("1 of 7")).to_be_visible()

    page.get_by_text("Change name").click()
    page.get_by_label("Name", exact=True).fill("Grace Hopper")
    page.get_by_label("Labels").fill("env=production")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="Grace Hopper")).to_be_visible()
    shown = console.api.get(f"/users/{user['id']}").json()
    assert (shown["email"], shown["labels"]) == (user["email"], {"env": "production"})

    page.get_by_text("Delete this user").click()
    expect(page.get_by_text("1 certificate", exact=True)).to_be_visible()
    look("operator-user")
    page.get_by_role("button", name=f"Delete {user['email']}").click()
    expect(page.get_by_role("status")).to_contain_text("deleted")
    assert console.api.get(f"/users/{user['id']}").status_code == 404


def test_an_operator_grants_and_releases_a_hostname(
    page: Page, console: Console, look: Look
) -> None:
    first, second = console.user()["id"], console.user()["id"]
    console.upload(first, an_upload("shop.example", active=True))
    page.goto("/console/hostnames")
    page.get_by_label("Hostname").fill("*.Granted.example.")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Grant it to a user").click()
    page.get_by_label("Id of the user").fill(str(second))
    page.get_by_role("button", name="Grant *.granted.example").click()
    expect(page.get_by_role("status")).to_contain_text("granted")
    look("operator-hostname")

    page.get_by_role("link", name="Hostnames", exact=True).first.click()
    look("operator-hostnames")
    page.get_by_label("Hostname").fill("www.granted.example")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="*.granted.example").click()
    page.get_by_text("Release", exact=True).click()
    page.get_by_role("button", name="Release *.granted.example").click()
    expect(page.get_by_text("Nobody owns *.granted.example.")).to_be_visible()


def test_an_operator_sees_terminators_and_deletes_one(
    page: Page, console: Console, look: Look
) -> None:
    report: dict[str, Any] = {"terminator": "edge-1", "format": "nginx"}
    report["errors"] = ["nginx: <script>alert(1)</script> is no directive"]
    terminator = bearer(make_token(console.engine, "terminator"))
    answer = console.api.post("/terminators/reports", json=report, headers=terminator)
    assert answer.status_code == 204, answer.text

    page.goto("/console/terminators")
    row = page.get_by_role("row").filter(has_text="edge-1")
    expect(row).to_contain_text("failing")
    expect(row).to_contain_text("<script>alert(1)</script>")
    look("operator-terminators")
    row.get_by_text("Delete", exact=True).click()
    row.get_by_role("button", name="Delete edge-1").click()
    expect(page.get_by_role("status")).to_contain_text("deleted")
    expect(row).to_have_count(0)


def test_an_operator_reads_the_audit_log_of_a_user(
    page: Page, console: Console, look: Look
) -> None:
    user_id = console.user()["id"]
    for name in ("one", "two"):
        console.api.patch(f"/users/{user_id}", json={"name": name})
    page.goto("/console/audit")
    page.get_by_label("User id").fill(str(user_id))
    page.get_by_role("button", name="Search").click()
    rows = page.get_by_role("row")
    expect(rows).to_have_count(4)
    expect(rows.nth(1)).to_contain_text("user.change")
    expect(rows.nth(3)).to_contain_text("user.register")
    page.get_by_text("Entry 3").click()
    look("operator-audit")

    page.get_by_label("Action").select_option("certificate")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No entry matches.")).to_be_visible()
    page.goto("/console/audit?user=999999999")
    expect(page.get_by_role("alert")).to_contain_text("does not exist")


def test_an_operator_adds_a_webhook_and_sees_the_backlogs(
    page: Page, console: Console, look: Look
) -> None:
    user_id = console.user()["id"]
    webhook_id, event_id = add_webhook(console.engine, user_id, url="https://dead.example/")
    with console.engine.begin() as connection:
        dead = sa.update(Delivery).where(Delivery.event_id == event_id).values(status="dead")
        connection.execute(dead)
    page.goto("/console/webhooks")
    page.get_by_label("URL").fill("https://hooks.example.com/all")
    page.get_by_role("button", name="Add the webhook").click()
    page.get_by_role("link", name="To the webhook").click()
    page.get_by_role("button", name="Send a test event").click()
    expect(page.get_by_role("status")).to_contain_text("A test event is queued.")
    look("operator-webhook")
    own = page.url.partition("?")[0]

    page.get_by_role("link", name="Webhooks", exact=True).first.click()
    look("operator-webhooks")
    row = page.get_by_role("row", name="https://dead.example/")
    row.get_by_role("link", name="1", exact=True).click()
    url = f"{console.url}/console/users/{user_id}/webhooks/{webhook_id}?status=dead"
    expect(page).to_have_url(url)

    page.goto(own)
    page.get_by_text("Delete…").click()
    page.get_by_role("button", name="Delete the webhook").click()
    expect(page.get_by_role("status")).to_contain_text("deleted")
    expect(page.get_by_text("https://hooks.example.com/all")).to_have_count(0)
