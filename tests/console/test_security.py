"""Attacks on the console, in a browser."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import Browser, Page, expect

from customer_certificates.console_routes import CONSOLE_ROUTES
from customer_certificates.models import Delivery, Terminator

from ..credentials import Made, bearer, make_token
from ..factories import an_upload
from ..pki import authority
from ..resources import pem
from ..service import Service
from ..tables import NOW, add_certificates, add_webhook
from .conftest import Console
from .hostile_text import IMAGE, LOAD, NAME, TEXT, URL


class Site:
    """A server of another site, which shows one page."""

    def __init__(self, stack: ExitStack) -> None:
        site = self
        self.html = ""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = site.html.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object, **__: object) -> None:
                pass

        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)

    @property
    def of_another_site(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def of_the_same_site(self) -> str:
        """Another origin of the console's site: browsers send it the SameSite cookie."""
        return f"http://localhost:{self.port}/"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack)


@pytest.fixture
def lenient(browser: Browser) -> Iterator[Page]:
    """A page on which violations of a policy are expected."""
    context = browser.new_context()
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("origin", ["of_another_site", "of_the_same_site"])
def test_a_form_of_another_site_is_refused(
    origin: str, page: Page, customer: dict[str, Any], console: Console, site: Site
) -> None:
    site.html = (
        f'<form method="post" action="{console.url}/console/sign-out">'
        '<input name="everywhere" value="yes"><input name="csrf" value="x">'
        "<button>Win a prize</button></form>"
    )
    page.goto(getattr(site, origin))
    page.get_by_role("button").click()
    expect(page.get_by_text("Forms of pages of other sites are not allowed.")).to_be_visible()

    page.goto("/console")
    expect(page.get_by_text(customer["name"])).to_be_visible()


@pytest.mark.parametrize("origin", ["of_another_site", "of_the_same_site"])
def test_another_site_cannot_show_the_console_in_a_frame(
    origin: str, lenient: Page, console: Console, site: Site
) -> None:
    site.html = f'<iframe src="{console.url}/console/sign-in"></iframe>'
    _require_empty_frame(lenient, getattr(site, origin))


def test_a_portal_opens_the_console_in_a_frame(
    browser: Browser, console: Console, site: Site, folder: Path
) -> None:
    """The browser has a cookie for this portal alone. Other sites still show no console."""
    portal = site.of_another_site
    settings = {
        **console.settings,
        "CC_PUBLIC_URL": "https://certificates.example",
        "CC_CONSOLE_FRAME_ORIGINS": portal,
        "CC_CONSOLE_RETURN_ORIGINS": portal,
    }
    service = Service(settings, folder / "framed.log")
    url = service.url.replace("127.0.0.1", "localhost")
    user = console.user()
    console.upload(user["id"], an_upload(f"framed-{user['id']}.example.com"))
    headers = bearer(console.operator)
    with service.client(headers=headers) as api:
        path = f"/users/{user['id']}/console-links"
        link = api.post(path, json={"return_url": f"{portal}account"}).json()["url"]
    site.html = f'<iframe width="900" height="700" src="{url}/{link.split("/", 3)[3]}"></iframe>'
    with browser.new_context() as context:
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.goto(portal)
        frame = page.frame_locator("iframe")
        frame.get_by_role("button", name="Open the console").click()
        expect(frame.get_by_role("link", name="framed-")).to_be_visible()
        frame.get_by_label("Status").select_option("expired")
        frame.get_by_role("button", name="Search").click()
        expect(frame.get_by_text("No certificate matches.")).to_be_visible()
        # The session is of the frame, not of a tab.
        tab = context.new_page()
        tab.goto(f"{url}/console")
        expect(tab.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
        _require_empty_frame(tab, site.of_the_same_site)
        frame.get_by_role("button", name="Sign out", exact=True).click()
        site.html = "<h1>Your account</h1>"
        frame.get_by_role("link", name="Back to 127.0.0.1").click()
        expect(page).to_have_url(f"{portal}account")
    assert service.stop() == 0


def test_hostile_texts_are_shown_as_text(
    page: Page, operator: Made, console: Console, subtests: pytest.Subtests
) -> None:
    """On every page, for everything that users, CAs, terminators and receivers name."""
    ids = _hostile(console)
    reflected = "&".join(
        f"{name}={quote(TEXT)}"
        for name in ("hostname", "q", "issuer", "user", "name", "email", "done", "after")
    )
    paths = [
        re.sub(r"\{(\w+)(:\w+)?\}", lambda found: str(ids[found[1]]), route.template)
        for route in CONSOLE_ROUTES
        if hasattr(route.page, "on_get") and not route.page.is_static
    ]
    page.goto("/console")
    answers = page.evaluate(LOAD, [[*paths, *(f"{path}?{reflected}" for path in paths)], IMAGE])
    for path, status, injected, _ in answers:
        with subtests.test(path[:80]):
            assert status < 500
            assert injected == []
    assert any(has_text for *_, has_text in answers)


def test_hostile_texts_run_no_script(page: Page, operator: Made, console: Console) -> None:
    """The page itself fails the test for a script's error, and for a violation of the policy."""
    page.context.add_init_script("window.alert = () => { throw new Error('a script ran') }")
    ids = _hostile(console)
    page.goto(f"/console/users/{ids['user_id']}/certificates?hostname={quote(TEXT)}")
    expect(page.get_by_label("Hostname")).to_have_value(TEXT)
    page.goto(f"/console/users/{ids['user_id']}/certificates")
    expect(page.get_by_text(IMAGE).first).to_be_visible()


def _require_empty_frame(page: Page, url: str) -> None:
    """Loads a page with the console in a frame, which the browser must refuse to show."""
    with page.expect_console_message(lambda one: "frame-ancestors" in one.text):
        page.goto(url)
    assert page.frames[1].get_by_label("Password").count() == 0


def _hostile(console: Console) -> dict[str, Any]:
    """Stores hostile texts, as far as the API accepts them, and otherwise behind its back."""
    engine = console.engine
    user = console.user(name=TEXT)
    user_id = user["id"]
    now = datetime.now(UTC) - authority.NOW
    certificate = authority.issue(
        NAME,
        NAME,
        hostnames=[f"hostile-{user_id}.example.com"],
        start=now - timedelta(days=1),
        end=now + timedelta(days=10),
    )
    key = authority.ec_key(NAME).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    upload = {"body": pem(certificate), "private_key": base64.b64encode(key).decode()}
    certificate_id = console.upload(user_id, upload)
    add_certificates(
        engine,
        user_id,
        1,
        subject=TEXT,
        issuer=TEXT,
        hostnames=json.dumps([TEXT, IMAGE]),
        labels=json.dumps({IMAGE: IMAGE}),
        not_before=NOW,
        not_after=NOW + timedelta(days=90),
    )
    webhook_id, event_id = add_webhook(engine, user_id, url=URL, description=TEXT)
    attempt = {
        "at": "2026-11-23T09:30:00Z",
        "status": 500,
        "seconds": 1.0,
        "error": TEXT,
        "answer": TEXT,
    }
    row = {
        "name": IMAGE,
        "format": TEXT,
        "errors": json.dumps([TEXT]),
        "seen_at": datetime.now(UTC),
    }
    with engine.begin() as connection:
        connection.execute(
            sa.update(Delivery)
            .where(Delivery.webhook_id == webhook_id)
            .values(status="dead", attempts=json.dumps([attempt]), attempt_count=1)
        )
        connection.execute(sa.delete(Terminator).where(Terminator.name == IMAGE))
        terminator_id = connection.execute(
            sa.insert(Terminator).values(row).returning(Terminator.id)
        ).scalar_one()
    token = make_token(engine, "user", user_id, name=TEXT)
    return {
        "user_id": user_id,
        "certificate_id": certificate_id,
        "webhook_id": webhook_id,
        "event_id": event_id,
        "terminator_id": terminator_id,
        "token_id": token.id,
        "token": quote(TEXT, safe=""),
        "hostname": f"hostile-{user_id}.example.com",
    }
