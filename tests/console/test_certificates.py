"""A customer's certificates: uploads with findings, replacements, versions, cutovers, deletions."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from playwright.sync_api import Browser, Page, expect

from ..credentials import bearer, make_token
from ..pki import authority
from ..resources import an_upload_of, pem
from .conftest import Console, add_cookie


class Names(NamedTuple):
    """Hostnames that no other customer has."""

    www: str
    shop: str


@pytest.fixture
def names(customer: dict[str, Any]) -> Names:
    return Names(f"www.customer{customer['id']}.example", f"shop.customer{customer['id']}.example")


def a_chain(*hostnames: str, days: int = 60) -> list[x509.Certificate]:
    """A certificate that expires in so many days, its intermediate, and its root."""
    now = datetime.now(UTC) - authority.NOW
    start, end = now - timedelta(days=30), now + timedelta(days=days)
    leaf = authority.a_leaf("Issuing", hostnames[0], hostnames=hostnames, start=start, end=end)
    authorities = [("Issuing", "Root"), ("Root", "Root")]
    return [leaf, *(authority.an_authority(*names) for names in authorities)]


def key_of(hostname: str) -> str:
    key = authority.ec_key(hostname)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def stored(console: Console, user: dict[str, Any], *hostnames: str, **changes: Any) -> int:
    """Uploads an active certificate, and returns its id."""
    return console.upload(
        user["id"], an_upload_of(*a_chain(*hostnames), **({"active": True} | changes))
    )


def serve(console: Console, user: dict[str, Any], certificate_id: int) -> None:
    """A terminator reports that it serves the certificate."""
    path = f"/users/{user['id']}/certificates/{certificate_id}"
    certificate = console.api.get(path).json()
    served = {
        "certificate_id": certificate_id,
        "version": certificate["version"],
        "fingerprint_sha256": certificate["fingerprint_sha256"],
        "verified": True,
    }
    token = make_token(console.engine, "terminator")
    said = {"terminator": f"edge-{certificate_id}", "served": [served]}
    answer = console.api.post("/terminators/reports", json=said, headers=bearer(token))
    assert answer.status_code == 204, answer.text


def test_a_customer_pastes_a_certificate_and_sees_the_findings_before_it_is_stored(
    page: Page, customer: dict[str, Any], names: Names, look: Callable[[str], None]
) -> None:
    page.goto(f"/console/users/{customer['id']}/certificates")
    expect(page.get_by_text("There are no certificates yet.")).to_be_visible()
    look("certificates-empty")
    page.get_by_role("link", name="Upload a certificate").click()
    check = page.get_by_role("region", name="Check")
    page.get_by_label("Certificate", exact=True).fill(pem(*a_chain(names.www, names.shop)))
    expect(check).to_contain_text("Add the private key.")
    page.get_by_label("Private key").fill(key_of(names.shop))
    expect(check).to_contain_text("would be rejected")
    expect(check).to_contain_text("does not match the certificate's key")
    look("certificate-upload-error")
    page.get_by_label("Private key").fill(key_of(names.www))
    expect(check).to_contain_text("ready to upload")
    expect(check.get_by_role("listitem").filter(has_text=names.shop)).to_be_visible()
    look("certificate-upload")
    page.get_by_label("Labels").fill("env=production")
    page.get_by_role("button", name="Upload").click()

    expect(page.get_by_role("status")).to_contain_text("The certificate is stored.")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{names.www}, {names.shop}")
    expect(page.get_by_text("CN=Root", exact=True)).to_be_visible()
    look("certificate")
    assert "PRIVATE KEY" not in page.content()


def test_a_customer_uploads_a_pkcs12_file_with_its_passphrase(
    page: Page, customer: dict[str, Any], names: Names
) -> None:
    leaf, *authorities = a_chain(names.www)
    file = pkcs12.serialize_key_and_certificates(
        None,
        authority.ec_key(names.www),
        leaf,
        authorities,
        BestAvailableEncryption(b"open sesame"),
    )
    page.goto(f"/console/users/{customer['id']}/certificates/new")
    check = page.get_by_role("region", name="Check")
    page.get_by_text("I have a PKCS#12 file").click()
    page.get_by_label("PKCS#12 file with").set_input_files(
        {"name": "shop.p12", "mimeType": "application/x-pkcs12", "buffer": file}
    )
    expect(check).to_contain_text("pkcs12")
    expect(check).to_contain_text("would be rejected")
    page.get_by_label("Passphrase").fill("open sesame")
    expect(check).to_contain_text("ready to upload")
    page.get_by_role("button", name="Upload").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(names.www)


def test_a_rejected_upload_is_shown_again_with_its_hints_and_without_the_key(
    page: Page, customer: dict[str, Any], names: Names, look: Callable[[str], None]
) -> None:
    chain = pem(*a_chain(names.www))
    page.goto(f"/console/users/{customer['id']}/certificates/new")
    page.get_by_label("Certificate", exact=True).fill(chain)
    page.get_by_label("Private key").fill(key_of(names.shop))
    page.get_by_label("Later, at this time:").check()
    page.get_by_label("Time in UTC").fill("2001-01-01T00:00")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("activate_at must be in the future.")
    expect(page.get_by_label("Later, at this time:")).to_be_checked()
    page.get_by_label("Now").check()
    page.get_by_label("Private key").fill(key_of(names.shop))
    page.get_by_role("button", name="Upload").click()

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The certificate was rejected with 1 error; nothing was stored.")
    expect(alert).to_contain_text("Send the key that the certificate was requested with.")
    assert page.get_by_label("Certificate", exact=True).input_value() == chain
    assert page.get_by_label("Private key").input_value() == ""
    look("certificate-rejected")


def test_a_customer_replaces_a_certificate_compares_versions_and_rolls_back(
    page: Page,
    console: Console,
    customer: dict[str, Any],
    names: Names,
    look: Callable[[str], None],
) -> None:
    certificate_id = stored(console, customer, names.www, names.shop)
    page.goto(f"/console/users/{customer['id']}/certificates/{certificate_id}")
    page.get_by_role("link", name="Replace").click()
    page.get_by_label("Certificate", exact=True).fill(pem(*a_chain(names.www, f"new.{names.www}")))
    page.get_by_label("Private key").fill(key_of(names.www))
    check = page.get_by_role("region", name="Check")
    expect(check).to_contain_text("Lost")
    expect(check).to_contain_text(names.shop)
    look("certificate-replace")
    page.get_by_role("button", name="Replace").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(f"{names.shop} is a hostname of the current certificate")
    page.get_by_label("Private key").fill(key_of(names.www))
    page.get_by_label("Do it anyway").check()
    page.get_by_role("button", name="Replace").click()
    expect(page.get_by_role("status")).to_contain_text("The replacement is stored.")
    page.get_by_role("link", name="Versions").click()
    newest = page.get_by_role("region", name="Version 2")
    expect(newest).to_contain_text("current")
    expect(newest.get_by_role("listitem").filter(has_text=names.shop)).to_contain_text("removed")
    expect(newest.get_by_role("listitem").filter(has_text=f"new.{names.www}")).to_contain_text(
        "added"
    )
    expect(newest).to_contain_text("same key")
    look("certificate-versions")
    page.get_by_role("button", name="Roll back to version 1").click()
    page.get_by_label("Roll back anyway").check()
    page.get_by_role("button", name="Roll back to version 1").click()

    expect(page.get_by_role("region", name="Version 3")).to_contain_text("current")


def test_a_customer_schedules_a_cutover_and_cancels_it(
    page: Page,
    console: Console,
    customer: dict[str, Any],
    names: Names,
    look: Callable[[str], None],
) -> None:
    certificate_id = stored(console, customer, names.www)
    at = datetime.now(UTC) + timedelta(days=7)
    page.goto(f"/console/users/{customer['id']}/certificates/{certificate_id}/replace")
    page.get_by_label("Certificate", exact=True).fill(pem(*a_chain(names.www, days=90)))
    page.get_by_label("Private key").fill(key_of(names.www))
    page.get_by_label("Later, at this time:").check()
    page.get_by_label("Time in UTC").fill(f"{at:%Y-%m-%dT%H:%M}")
    page.get_by_role("button", name="Replace").click()
    cutover = page.get_by_role("region", name="Scheduled cutover to version 2")
    expect(cutover).to_contain_text(f"{at:%Y-%m-%d %H:%M} UTC")
    look("certificate-cutover")
    page.get_by_role("button", name="Cancel the cutover").click()

    expect(page.get_by_role("status")).to_contain_text("The change is stored.")
    expect(cutover).to_be_hidden()


def test_a_customer_deletes_a_served_certificate_after_a_warning(
    page: Page,
    console: Console,
    customer: dict[str, Any],
    names: Names,
    look: Callable[[str], None],
) -> None:
    certificate_id = stored(console, customer, names.www, names.shop)
    serve(console, customer, certificate_id)
    page.goto(f"/console/users/{customer['id']}/certificates/{certificate_id}")
    serving = page.get_by_role("listitem").filter(has_text=f"edge-{certificate_id}")
    expect(serving).to_contain_text("verified")
    warning = page.get_by_text(re.compile("^Hostnames that")).locator("..")
    expect(warning).to_contain_text(names.shop)
    look("certificate-deactivate")
    page.get_by_role("button", name="Deactivate").click()
    expect(page.get_by_label("Deactivate it anyway")).to_be_visible()
    page.get_by_role("link", name="Delete").click()
    expect(warning).to_contain_text(names.shop)
    look("certificate-delete")
    page.get_by_role("button", name="Delete").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(f"{names.shop} is served with this certificate")
    page.get_by_label("Delete it anyway").check()
    look("certificate-delete-warning")
    page.get_by_role("button", name="Delete").click()

    expect(page.get_by_role("status")).to_contain_text("It is deleted.")


def test_a_customer_finds_activates_and_labels_certificates(
    page: Page,
    console: Console,
    customer: dict[str, Any],
    names: Names,
    look: Callable[[str], None],
) -> None:
    serve(console, customer, stored(console, customer, names.www, labels={"env": "production"}))
    stored(console, customer, names.shop, active=False)
    page.goto(f"/console/users/{customer['id']}/certificates")
    expect(page.get_by_role("row").filter(has_text=names.www)).to_contain_text("env=production")
    expect(page.get_by_role("row").filter(has_text=names.www)).to_contain_text("1 of")
    look("certificates-list")
    page.get_by_label("Hostname").fill(names.shop)
    page.get_by_label("Status").select_option("inactive")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name=names.www)).to_be_hidden()
    page.get_by_role("link", name=names.shop).click()
    page.get_by_role("button", name="Activate").click()
    expect(page.get_by_role("button", name="Deactivate")).to_be_visible()
    page.get_by_label("Labels").fill("team=web")
    page.get_by_role("button", name="Save the labels").click()
    expect(page.get_by_role("status")).to_be_visible()
    assert page.get_by_label("Labels").input_value() == "team=web"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the chain").click()
    content = download.value.path().read_text()

    assert content.count("BEGIN CERTIFICATE") == 2
    assert "PRIVATE KEY" not in content


def test_a_customer_uploads_and_deletes_without_javascript(
    browser: Browser, console: Console, names: Names, customer: dict[str, Any]
) -> None:
    context = browser.new_context(base_url=console.url, java_script_enabled=False)
    context.set_default_timeout(10_000)
    page = context.new_page()
    add_cookie(page, console, console.session(user_id=customer["id"]))
    page.goto(f"/console/users/{customer['id']}/certificates/new")
    page.get_by_label("Certificate", exact=True).fill("no certificate")
    page.get_by_label("Private key", exact=True).fill(key_of(names.www))
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Certificate", exact=True).fill(pem(*a_chain(names.www)))
    page.get_by_label("Private key", exact=True).fill(key_of(names.www))
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name=names.www, level=1)).to_be_visible()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()

    expect(page.get_by_text("There are no certificates yet.")).to_be_visible()
    context.close()
