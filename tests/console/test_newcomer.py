"""The first minutes with a new service, in a browser: `make run`, and no documentation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ..factories import a_pair
from ..service import Service


@pytest.fixture
def new_service(migrated: Callable[[Path], None], folder: Path) -> Iterator[Service]:
    """A service without settings, and without data."""
    data = folder / "newcomer"
    migrated(data)
    service = Service({"CC_DATA_DIR": str(data)}, folder / "newcomer.log")
    yield service
    assert service.stop() == 0


def test_a_newcomer_gets_to_an_active_certificate(
    page: Page, new_service: Service, look: Callable[[str], None]
) -> None:
    pair = a_pair("shop.newcomer.example")
    page.goto(f"{new_service.url}/console")
    expect(page.get_by_text("Open mode")).to_be_visible()
    look("first-steps")
    page.get_by_role("link", name="Register the first user").click()
    page.get_by_label("Name", exact=True).fill("Ada Lovelace")
    page.get_by_label("Email address").fill("ada@example.com")
    page.get_by_label("Password").fill("correct horse battery staple")
    page.get_by_role("button", name="Register the user").click()
    expect(page.get_by_role("status")).to_contain_text("Now upload the first certificate.")

    page.get_by_role("link", name="Upload a certificate").click()
    page.get_by_label("Certificate", exact=True).fill(pair.body)
    page.get_by_label("Private key").fill(pair.key_pem.decode())
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("status")).to_contain_text("The certificate is stored.")
    expect(page.get_by_text("active", exact=True).first).to_be_visible()

    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("link", name="1 active", exact=True)).to_be_visible()
    page.get_by_role("link", name="How to start an agent").click()
    expect(page.get_by_text("customer-certificates sync")).to_be_visible()
    look("terminators-none")
