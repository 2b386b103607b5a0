"""The pages of operators about the certificates of all users."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from customer_certificates.models import Certificate

from ..factories import an_upload
from ..tables import add_certificates, add_users
from .conftest import Console

pytestmark = pytest.mark.usefixtures("operator")

Look = Callable[[str], None]
ISSUER = 'CN=R10 <script>alert("1")</script>,O=Test & Sons,C=US'
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def user_id(console: Console) -> int:
    """A user with 60 certificates of ISSUER that expire on different days."""
    (user_id,) = add_users(console.engine, 1, external_id="fleet-1")
    for number in range(60):
        add_certificates(
            console.engine,
            user_id,
            1 + number % 7 // 5 * 3,
            hostnames=json.dumps([f"www{number}.fleet.example"]),
            issuer=ISSUER,
            serial=f"{number:x}",
            trust="public",
            key_algorithm="RSA-2048" if number % 3 else "ECDSA-P-256",
            not_before=NOW - timedelta(days=30),
            not_after=NOW + timedelta(days=number * 2 - 3, hours=1),
        )
    return user_id


def test_the_overview_leads_from_a_day_to_its_certificates(
    page: Page, look: Look, user_id: int
) -> None:
    page.goto("/console")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="Test & Sons")
    expect(row).to_contain_text('CN=R10 <script>alert("1")</script>,O=Test & Sons,C=US')
    look("operator-overview")

    day = f"{NOW + timedelta(days=7, hours=1):%Y-%m-%d}"
    page.get_by_text("As a table").click()
    page.get_by_role("link", name=day, exact=True).click()
    expect(page.get_by_role("link", name="www5.fleet.example").first).to_be_visible()
    assert page.get_by_label("Expires on this day").input_value() == day
    expect(page.get_by_role("link", name="www6.fleet.example")).to_have_count(0)


def test_an_operator_searches_the_certificates_of_all_users(
    page: Page, console: Console, look: Look, user_id: int
) -> None:
    owner = console.user()["id"]
    console.upload(owner, an_upload("search.example", active=True, labels={"env": "production"}))
    page.goto("/console/certificates")
    page.get_by_label("Hostname").fill("SEARCH.example")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="CN=search.example").click()
    expect(page.get_by_label("Issuer")).to_have_value("CN=search.example")
    expect(page.get_by_role("link", name=f"User {owner}")).to_be_visible()

    page.goto(f"/console/certificates?user={user_id}&status=active")
    look("operator-certificates")
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("row")).not_to_have_count(0)
    page.get_by_label("Fingerprint").fill("12:34")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("fingerprint must be a SHA-256")
    expect(page.get_by_label("Fingerprint")).to_have_value("12:34")
    expect(page.get_by_label("User id")).to_have_value(str(user_id))


def test_an_operator_sees_what_expires_without_a_replacement(
    page: Page, console: Console, look: Look, user_id: int
) -> None:
    page.goto("/console/expiring")
    page.get_by_label("Active certificates").select_option("within 7 days")
    page.get_by_role("button", name="Show").click()
    row = page.get_by_role("row").filter(has_text="www0.fleet.example")
    expect(row).to_contain_text("expired 2 days ago")
    expect(page.get_by_text("www9.fleet.example")).to_have_count(0)
    look("operator-expiring")
    page.get_by_label("Replacement").select_option("with a replacement")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("with a replacement expires within 7 days")).to_be_visible()
    page.get_by_label("Replacement").select_option("all")
    page.get_by_role("button", name="Show").click()
    row.get_by_role("link", name=f"User {user_id}").click()
    expect(page).to_have_url(f"{console.url}/console/users/{user_id}")


def test_an_operator_follows_an_incident(
    page: Page, console: Console, look: Look, tmp_path: Path, user_id: int
) -> None:
    page.goto("/console/incidents")
    page.get_by_label("of this issuer").fill(ISSUER)
    page.get_by_label("with this public key").fill("5d" * 32)
    page.get_by_role("button", name="Show the progress").click()
    expect(page.get_by_role("alert")).to_contain_text("issuer and spki exclude each other")

    page.get_by_label("with this public key").fill("")
    page.get_by_label("of this issuer").fill("")
    page.get_by_label("serial numbers").fill("3a\n3b")
    page.get_by_role("button", name="Show the progress").click()
    numbers = page.locator("dl.numbers > div")
    expect(numbers.nth(0)).to_contain_text("Affected 2")
    expect(page.get_by_role("row")).to_have_count(3)
    look("operator-incident")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    download.value.save_as(tmp_path / "incident.csv")
    assert "www58.fleet.example" in (tmp_path / "incident.csv").read_text()

    with console.engine.begin() as connection:
        connection.execute(sa.delete(Certificate).where(Certificate.serial == "3b"))
    # The page loads the numbers again without a click.
    expect(numbers.nth(0)).to_contain_text("Affected 1", timeout=10_000)

    # It does not do so without an end.
    page.goto("/console/incidents/numbers?serials=3a&wait=0")
    expect(page.get_by_text("no longer updated")).to_be_visible()
    expect(page.locator("[hx-get]")).to_have_count(0)
