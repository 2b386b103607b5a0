"""Webhooks and their deliveries in the console."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from customer_certificates.models import Delivery

from ..factories import an_upload
from .conftest import Console

URL = "https://hooks.example.com/certificates"


def record_result(console: Console, event_id: int, status: str, *answers: tuple[int, str]) -> None:
    """Stores attempts of a delivery, as a worker does. The service of these tests has none."""
    attempts = [
        {"at": datetime.now(UTC), "status": code, "seconds": 0.03, "error": None, "answer": answer}
        for code, answer in answers
    ]
    changes = {"status": status, "attempts": msgspec.json.encode(attempts).decode()}
    with console.engine.begin() as connection:
        changed = sa.update(Delivery).where(Delivery.event_id == event_id).values(changes)
        assert connection.execute(changed).rowcount == 1


def test_a_customer_adds_a_webhook_and_tests_it(
    page: Page, console: Console, customer: dict[str, Any], look: Callable[[str], None]
) -> None:
    path = f"/console/users/{customer['id']}/webhooks"
    page.goto(path)
    page.get_by_label("URL").fill("http://hooks.example.com/")
    page.get_by_label("Only these").check()
    page.get_by_label("A certificate expires soon").check()
    look("webhook-new")
    page.get_by_role("button", name="Add the webhook").click()
    expect(page.get_by_role("alert")).to_contain_text("The webhook URL is not allowed.")
    expect(page.get_by_label("A certificate expires soon")).to_be_checked()

    page.get_by_label("URL").fill(URL)
    page.get_by_role("button", name="Add the webhook").click()
    expect(page.locator("#webhook-secret")).to_contain_text("whsec_")
    secret = page.locator("#webhook-secret").inner_text()
    look("webhook-secret")
    page.get_by_role("link", name="To the webhook").click()
    assert secret not in page.content()
    page.get_by_role("button", name="Send a test event").click()
    expect(page.get_by_role("status")).to_contain_text("A test event is queued.")

    row = page.get_by_role("row", name="A webhook was tested")
    expect(row).to_contain_text("pending none yet")
    (webhook,) = console.api.get(f"/users/{customer['id']}/webhooks").json()
    assert (webhook["url"], webhook["events"]) == (URL, ["certificate.expiring"])
    (delivery,) = _deliveries(console, f"/users/{customer['id']}/webhooks", webhook["id"])
    record_result(console, delivery["event_id"], "delivered", (200, "ok"))
    # The page shows it without being loaded again.
    expect(row).to_contain_text("delivered HTTP 200", timeout=20_000)
    page.goto(path)
    expect(page.get_by_role("row", name=URL)).to_contain_text("active 1 kind")
    look("webhooks")


def test_a_customer_finds_a_failed_delivery_and_sends_it_again(
    page: Page, console: Console, customer: dict[str, Any], look: Callable[[str], None]
) -> None:
    api, path = console.api, f"/users/{customer['id']}/webhooks"
    webhook = api.post(path, json={"url": URL, "description": "The load balancers"}).json()
    console.upload(customer["id"], an_upload("webhooks.example", active=True))
    created, activated = (item["event_id"] for item in _deliveries(console, path, webhook["id"]))
    hostile = "<script>alert(1)</script>"
    record_result(console, created, "dead", (500, hostile), (410, "gone"))
    record_result(console, activated, "delivered", (200, "ok"))
    page.goto(f"/console{path}/{webhook['id']}")
    page.get_by_label("Status").select_option("dead")
    page.get_by_role("button", name="Show").click()
    row = page.get_by_role("row", name="A certificate was uploaded")
    row.get_by_text("HTTP 410").first.click()
    expect(row).to_contain_text(hostile)
    look("webhook-dead")

    row.get_by_role("button", name=f"Send event {created} again").click()
    expect(page.get_by_role("status")).to_contain_text("The event is queued.")
    expect(page.get_by_role("row", name="A certificate was uploaded")).to_contain_text("pending")
    page.get_by_text("Replay a range of events").click()
    page.get_by_label("Up to the event").fill("the last")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("alert")).to_contain_text("until must be")
    page.get_by_label("Up to the event").fill("")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status")).to_contain_text("The events of the range are queued.")
    assert {item["status"] for item in _deliveries(console, path, webhook["id"])} == {"pending"}
    look("webhook")


def test_a_customer_changes_and_deletes_a_webhook(
    page: Page, console: Console, customer: dict[str, Any]
) -> None:
    path = f"/users/{customer['id']}/webhooks"
    webhook = console.api.post(path, json={"url": URL}).json()
    page.goto(f"/console{path}/{webhook['id']}")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Events are stored, and sent after you resume it.")).to_be_visible()
    page.get_by_text("Edit", exact=True).click()
    page.get_by_label("Description").fill("The mail servers")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="The mail servers")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("Rotate the secret…").click()
    page.get_by_role("button", name="Rotate the secret").click()
    secret = page.locator("#webhook-secret").inner_text()
    assert secret.startswith("whsec_")
    assert secret != webhook["secret"]
    expect(page.get_by_text("messages are also signed with the previous secret")).to_be_visible()

    page.get_by_role("link", name="To the webhook").click()
    page.get_by_text("Delete…").click()
    page.get_by_role("button", name="Delete the webhook").click()
    expect(page.get_by_role("status")).to_contain_text("It is deleted.")
    assert console.api.get(path).json() == []


def _deliveries(console: Console, path: str, webhook_id: int) -> Any:
    return console.api.get(f"{path}/{webhook_id}/deliveries").json()
