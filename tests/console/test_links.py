"""Links from a portal to the console, and the console in a frame."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.app import create_app
from customer_certificates.composition import Services
from customer_certificates.models import AuditEntry, ConsoleLink, ConsoleSession, User

from ..applications import Clock
from ..conftest import MAIL, Backend
from ..credentials import bearer, make_token
from ..pki import authority
from ..resources import refusal
from ..tables import add_users, dump
from .visitor import Visitor

_PORTAL = "https://portal.example.com"


class Portal:
    """A portal, which creates links, and the browsers of its users."""

    def __init__(self, client: TestClient, engine: sa.Engine, clock: Clock) -> None:
        self.client = client
        self.engine = engine
        self.clock = clock
        self.user_id, self.other_id = add_users(engine, 2)
        self.token = make_token(engine, "operator", now=clock.now)

    def create(self, **fields: Any) -> Result:
        path = f"/users/{self.user_id}/console-links"
        return self.client.simulate_post(path, json=fields, headers=bearer(self.token))

    def link(self, **fields: Any) -> str:
        """Creates a link, and returns its path."""
        answer = self.create(**fields)
        assert answer.status_code == 201, answer.text
        origin, path = answer.json["url"][:28], answer.json["url"][28:]
        assert origin == "https://certificates.example"
        return str(path)

    @property
    def home(self) -> str:
        return f"/console/users/{self.user_id}/certificates"


@pytest.fixture(scope="module")
def moved(backend: Backend) -> Iterator[tuple[TestClient, Clock, Services]]:
    clock = Clock()
    config = backend.closed(
        **{**MAIL, "CC_PUBLIC_URL": "https://certificates.example/below"},
        CC_CONSOLE_RETURN_ORIGINS=f"{_PORTAL},http://localhost:8000",
    )
    app = create_app(config, now=clock)
    with Services(config, clock) as services:
        yield TestClient(app), clock, services
    app.close()


@pytest.fixture
def portal(moved: tuple[TestClient, Clock, Services], engine: sa.Engine) -> Portal:
    client, clock, _ = moved
    clock.now = authority.NOW
    return Portal(client, engine, clock)


def test_a_session_of_a_link_cannot_change_the_email_address(portal: Portal) -> None:
    """The address would outlive the session, and get the notices of the user."""
    visitor = Visitor(portal.client)
    link = portal.link()
    visitor.get(link)
    visitor.post(link)
    settings = f"/console/users/{portal.user_id}/settings"
    assert 'name="email"' not in visitor.get(settings).text
    before = dump(portal.engine)["users"]

    answer = visitor.post(settings, action="account", name="Ada", email="eve@example.com")

    assert answer.status_code == 403
    assert "This session began with a link." in answer.text
    assert dump(portal.engine)["users"] == before


def test_a_session_of_a_link_cannot_change_the_password(portal: Portal) -> None:
    """The password would outlive the session, and create tokens."""
    visitor = Visitor(portal.client)
    link = portal.link()
    visitor.get(link)
    visitor.post(link)
    settings = f"/console/users/{portal.user_id}/settings"
    assert "New password" not in visitor.get(settings).text
    password = "correct horse battery staple"

    answer = visitor.post(settings, action="password", password=password, password_again=password)

    assert answer.status_code == 403
    assert "This session began with a link." in answer.text
    assert visitor.get(settings).status_code == 200


def test_a_link_opens_the_console_once(portal: Portal) -> None:
    link = portal.link()
    first, second = Visitor(portal.client), Visitor(portal.client)
    for visitor in (first, second):
        page = visitor.get(link)
        assert page.status_code == 200
        assert "<strong>User " in page.text
    planted = first.secret
    assert first.post(link).headers["Location"] == "/console"
    late = second.post(link)

    assert first.secret != planted
    assert first.get("/console").headers["Location"] == portal.home
    assert first.get(portal.home).status_code == 200
    assert first.get(f"/console/users/{portal.other_id}/certificates").status_code == 404
    assert (late.status_code, "This link is not valid" in late.text) == (404, True)
    assert second.get(portal.home).status_code == 303
    assert "This link is not valid" in first.get(link).text


def test_a_link_used_by_several_at_once_opens_one_session(
    portal: Portal, moved: tuple[TestClient, Clock, Services]
) -> None:
    links = moved[2].console_links
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            token = portal.link().rpartition("/")[2]
            secrets = list(pool.map(lambda _, of=token: links.redeem(of, "", "", ""), range(4)))
            assert secrets.count(None) == 3
    assert len(dump(portal.engine)["console_sessions"]) == 5


def test_opening_a_link_changes_nothing(portal: Portal) -> None:
    link = portal.link()
    # The use of the portal's token is recorded later.
    before = dump(portal.engine) | {"tokens": []}
    for method in ("GET", "HEAD", "OPTIONS"):
        assert Visitor(portal.client).send(method, link, {}).status_code == 200

    assert dump(portal.engine) | {"tokens": []} == before


def test_a_link_expires(portal: Portal) -> None:
    link = portal.link()
    visitor = Visitor(portal.client)
    portal.clock.now += timedelta(seconds=59)
    assert visitor.get(link).status_code == 200
    portal.clock.now += timedelta(seconds=1)

    assert visitor.get(link).status_code == 404
    assert visitor.post(link).status_code == 404
    assert dump(portal.engine)["console_sessions"] == []


def test_a_link_of_a_deleted_user_is_not_valid(portal: Portal) -> None:
    link = portal.link()
    visitor = Visitor(portal.client)
    visitor.get(link)
    with portal.engine.begin() as connection:
        connection.execute(sa.delete(User).where(User.id == portal.user_id))

    assert visitor.get(link).status_code == 404
    assert visitor.post(link).status_code == 404


@pytest.mark.one_backend
@pytest.mark.parametrize("token", ["0" * 32, "x", "%00", "%ff", "é", "a" * 5000])
def test_an_unknown_link_is_not_valid(token: str, portal: Portal) -> None:
    visitor = Visitor(portal.client)
    for answer in (visitor.get(f"/console/links/{token}"), visitor.post(f"/console/links/{token}")):
        assert answer.status_code == 404
        assert "This link is not valid" in answer.text


def test_a_link_replaces_the_session_of_the_browser(portal: Portal) -> None:
    visitor = Visitor(portal.client)
    visitor.get("/console/sign-in")
    visitor.post("/console/sign-in", token=portal.token.text)
    replaced = visitor.secret
    link = portal.link()
    assert "You are signed in as an operator" in visitor.get(link).text
    visitor.post(link)

    assert visitor.get("/console/overview").status_code == 403
    assert Visitor(portal.client, replaced).get("/console/overview").status_code == 303


def test_the_console_leads_back_to_the_portal(portal: Portal) -> None:
    url = f"{_PORTAL}/account?a=1&b=%22"
    link = portal.link(return_url=url)
    visitor = Visitor(portal.client)
    visitor.get(link)
    visitor.post(link)
    page = visitor.get(portal.home)

    shown = f'href="{_PORTAL}/account?a=1&amp;b=%22" target="_top">Back to portal.example.com</a>'
    assert shown in page.text
    signed_out = visitor.post("/console/sign-out")
    assert "You are signed out" in signed_out.text
    assert shown in signed_out.text
    assert visitor.get(portal.home).status_code == 303


@pytest.mark.one_backend
@pytest.mark.parametrize("url", [
    "https://evil.example/",
    "https://portal.example.com.evil.example/",
    "https://portal.example.com@evil.example/",
    "https://portal.example.com\\@evil.example/",
    "https://portal.example.com:444/",
    "http://portal.example.com/",
    "https://PORTAL.example.com/",
    "https:portal.example.com/",
    "//portal.example.com/",
    "/account",
    "",
    "javascript:alert(1)//https://portal.example.com/",
    "https://portal.example.com/\n",
    "https://portal.example.com/é",
    "https://portal.example.com/" + "a" * 2000,
])  # fmt: skip
def test_pages_of_other_origins_are_refused(url: str, portal: Portal) -> None:
    assert refusal(portal.create(return_url=url)) == (
        422,
        "invalid",
        {"return_url": "invalid_value"},
    )


@pytest.mark.one_backend
@pytest.mark.parametrize("url", [_PORTAL, f"{_PORTAL}/", f"{_PORTAL}?a", f"{_PORTAL}#a",
                                 "http://localhost:8000/a"])  # fmt: skip
def test_pages_of_listed_origins_are_accepted(url: str, portal: Portal) -> None:
    assert portal.create(return_url=url).status_code == 201


def test_only_a_digest_of_the_token_is_stored(portal: Portal) -> None:
    answer = portal.create(return_url=_PORTAL)
    token = answer.json["url"].rpartition("/")[2]
    rows = str(dump(portal.engine)["console_links"])

    assert answer.headers["Cache-Control"] == "no-store"
    assert token not in rows
    assert (
        answer.json["expires_at"] == f"{portal.clock.now + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
    )


@pytest.mark.one_backend
def test_links_need_a_user_a_public_url_and_credentials(
    portal: Portal, client: TestClient, backend: Backend
) -> None:
    portal.user_id = 2**62
    assert refusal(portal.create()) == (404, "not-found", {})
    headers = bearer(portal.token)
    app = create_app(backend.closed(), now=portal.clock)
    path = f"/users/{portal.other_id}/console-links"
    nameless = TestClient(app).simulate_post(path, json={}, headers=headers)
    app.close()
    assert refusal(nameless) == (409, "conflict", {})
    assert "CC_PUBLIC_URL" in nameless.json["detail"]
    assert refusal(client.simulate_post(path, json={})) == (409, "conflict", {})


def test_links_are_in_the_audit_log(portal: Portal) -> None:
    link = portal.link()
    visitor = Visitor(portal.client)
    visitor.get(link)
    visitor.post(link)
    with portal.engine.connect() as connection:
        rows = connection.execute(
            sa.select(AuditEntry.action, AuditEntry.actor_kind, AuditEntry.detail)
            .where(AuditEntry.chain == portal.user_id)
            .order_by(AuditEntry.seq)
        ).all()

    assert [tuple(row) for row in rows] == [
        ("console.create_link", "operator", "{}"),
        ("console.sign_in", "user", '{"by":"link"}'),
    ]


def test_expired_links_and_idle_sessions_are_purged(
    portal: Portal, moved: tuple[TestClient, Clock, Services]
) -> None:
    services = moved[2]
    used, _unused = portal.link(), portal.link()
    visitor = Visitor(portal.client)
    visitor.get(used)
    visitor.post(used)
    assert (services.console_links.purge(), services.console_sessions.purge()) == (0, 0)
    portal.clock.now += timedelta(minutes=30)
    fresh = portal.link()

    assert (services.console_links.purge(), services.console_sessions.purge()) == (1, 1)
    with portal.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(ConsoleLink)) == 1
        assert connection.scalar(sa.select(sa.func.count()).select_from(ConsoleSession)) == 0
    assert Visitor(portal.client).get(fresh).status_code == 200


@pytest.mark.one_backend
def test_the_headers_of_a_console_in_frames(backend: Backend, engine: sa.Engine) -> None:
    app = create_app(backend.closed(CC_CONSOLE_FRAME_ORIGINS=f"{_PORTAL}, https://b.example:444"))
    answer = TestClient(app).simulate_get("/console/sign-in")
    app.close()

    policy = answer.headers["Content-Security-Policy"]
    assert policy.endswith(f"frame-ancestors {_PORTAL} https://b.example:444")
    assert "X-Frame-Options" not in answer.headers
    name, _, attributes = answer.headers["Set-Cookie"].partition("=")
    assert name == "__Host-console-framed"
    assert {*attributes.split("; ")[1:]} == {
        *("HttpOnly", "Path=/", "SameSite=None", "Secure", "Partitioned")
    }
