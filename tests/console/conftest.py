"""A browser, and a service with credentials whose console it shows."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from customer_certificates.console import cookies

from ..conftest import MAIL, Backend
from ..credentials import Made, bearer, make_session, make_token
from ..dns_server import DnsServer
from ..factories import a_user
from ..service import Service

# Kept after the run, for people to look at.
SCREENSHOTS = Path(__file__).parents[2] / "var" / "screenshots"
_PHONE = {"width": 390, "height": 844}
_DESK = {"width": 1280, "height": 900}


class Console:
    """The service under test, and shortcuts to what a test needs before a page is opened."""

    def __init__(self, service: Service, engine: sa.Engine, settings: dict[str, str]) -> None:
        self.settings = settings
        # The browser accepts the cookie, which is for HTTPS, from localhost.
        self.url = service.url.replace("127.0.0.1", "localhost")
        self.engine = engine
        self.operator = make_token(engine, "operator")
        self.api = httpx.Client(base_url=service.url, headers=bearer(self.operator))

    def user(self, **changes: Any) -> dict[str, Any]:
        """Registers a user, and returns it with its password."""
        body = a_user(**changes)
        answer = self.api.post("/users", json=body)
        assert answer.status_code == 201, answer.text
        return {**body, "id": answer.json()["id"]}

    def upload(self, user_id: int, upload: dict[str, Any]) -> int:
        """Uploads a certificate of the user, and returns its id."""
        answer = self.api.post(f"/users/{user_id}/certificates", json=upload)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def session(
        self, *, user_id: int | None = None, token: Made | None = None, by_password: bool = True
    ) -> str:
        """Begins a session without the form, and returns its secret."""
        return make_session(self.engine, user_id=user_id, token=token, by_password=by_password)


@pytest.fixture(scope="package")
def console(
    migrated: Callable[[Path], None], folder: Path, dns_server: DnsServer
) -> Iterator[Console]:
    """A service of the profile prd, on a database of its own. Hostnames need no proof."""
    # A process may set it up repeatedly, between tests of other packages.
    own = Path(tempfile.mkdtemp(prefix="console-", dir=folder))
    data = own / "data"
    migrated(data)
    backend = Backend("sqlite", {"CC_DATA_DIR": str(data)})
    settings = {
        "CC_ENV": "prd",
        **backend.settings,
        **backend.named(),
        "CC_HOSTNAME_PROOF": "preferred",
        "CC_DNS_RESOLVERS": dns_server.address,
        **MAIL,
        "CC_WORKERS": "1",
        "CC_RATE_LIMIT": "0",
    }
    service = Service(settings, own / "log")
    engine = sa.create_engine(backend.database_url)
    console = Console(service, engine, settings)
    yield console
    console.api.close()
    engine.dispose()
    assert service.stop() == 0
    failed = [line for line in service.log.read_text().splitlines() if "Traceback" in line]
    assert failed == []


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser. Its event loop must not outlive these tests: others begin their own."""
    chromium = shutil.which("chromium-headless-shell")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, console: Console) -> Iterator[Page]:
    """A page without a session. A test fails if a page reports an error of a script or policy."""
    context = browser.new_context(base_url=console.url, viewport=_DESK)
    context.set_default_timeout(10_000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda one: errors.append(one.text) if "Policy" in one.text else None)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def customer(page: Page, console: Console) -> dict[str, Any]:
    """A user who is signed in on `page`."""
    user = console.user()
    add_cookie(page, console, console.session(user_id=user["id"]))
    return user


@pytest.fixture
def operator(page: Page, console: Console) -> Made:
    """An operator who is signed in on `page`."""
    token = make_token(console.engine, "operator")
    add_cookie(page, console, console.session(token=token))
    return token


@pytest.fixture
def look(page: Page) -> Callable[[str], None]:
    """Takes screenshots of the page, on a desk and on a phone, and checks its accessibility."""

    def take(name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
        page.set_viewport_size(_PHONE)
        # Nothing may be wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") <= _PHONE["width"]
        page.screenshot(path=SCREENSHOTS / f"{name}-phone.png", full_page=True)
        page.set_viewport_size(_DESK)

    return take


def add_cookie(page: Page, console: Console, secret: str) -> None:
    """Signs the browser of the page in."""
    page.context.add_cookies(
        [
            {
                "name": cookies.NAME,
                "value": secret,
                "url": console.url.replace("http:", "https:"),
                "secure": True,
                "httpOnly": True,
                "sameSite": "Lax",
            }
        ]
    )
