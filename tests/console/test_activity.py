"""The events and the audit log of a user in the console."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import TestClient
from playwright.sync_api import Page, expect

from customer_certificates.console.customer.event_words import ACTIONS, EVENTS
from customer_certificates.services.events.log import EVENT_TYPES

from ..factories import an_upload
from ..owners import owner
from .conftest import Console

__all__ = ["owner"]

AUDIT_LOG = Path(__file__).parents[2] / "docs" / "reference" / "audit-log.md"


def test_a_customer_reads_what_happened_and_by_whom(
    page: Page, console: Console, customer: dict[str, Any], look: Callable[[str], None]
) -> None:
    name = "activity.example"
    certificate = console.upload(customer["id"], an_upload(name, active=True))
    console.api.post(f"/users/{customer['id']}/webhooks", json={"url": "https://a.example/"})
    page.goto(f"/console/users/{customer['id']}/activity")
    newest = page.locator(".timeline > li").first
    expect(newest).to_contain_text("A certificate was activated")
    expect(newest).to_contain_text(name)
    look("activity")
    page.get_by_role("link", name="Audit log").click()
    expect(page.locator(".timeline > li").first).to_contain_text("Add a webhook done")
    uploaded = page.get_by_role("listitem").filter(has_text="Upload a certificate")
    expect(uploaded).to_contain_text(f"An operator, token {console.operator.id}")
    expect(uploaded.get_by_role("link")).to_have_attribute(
        "href", f"/console/users/{customer['id']}/certificates/{certificate}"
    )
    uploaded.get_by_text("Details").click()
    look("audit-log")


@pytest.mark.one_backend
@pytest.mark.parametrize("path", ["activity", "activity/audit"])
def test_pages_lead_from_the_newest_entry_to_the_oldest(
    client: TestClient, owner: int, path: str
) -> None:
    for _ in range(52):
        client.simulate_patch(f"/users/{owner}", json={"password": "another good password"})
    url = f"/console/users/{owner}/{path}"
    times, query = list[int](), ""
    while query is not None:
        text = client.simulate_get(url + query).text
        times.append(text.count("<time "))
        link = re.search(r'href="(\?before=\d+)"', text)
        query = link and link[1]

    assert times == [50, 2]


def test_each_event_and_action_has_words() -> None:
    table = AUDIT_LOG.read_text().partition("\n## Hashes")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    actions = {name for row in rows for name in re.findall(r"`([a-z]+\.[a-z_]+)`", row)}

    assert set(EVENTS) == set(EVENT_TYPES)
    # It is in the chain of no user.
    assert actions - set(ACTIONS) == {"keys.rewrap"}
