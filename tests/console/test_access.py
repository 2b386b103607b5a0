"""Every route of the console refuses every visitor without permission."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.console import cookies
from customer_certificates.console.page import Page
from customer_certificates.console_routes import CONSOLE_ROUTES, ConsoleRoute
from customer_certificates.crypto import token_format
from customer_certificates.models import NEVER, User
from customer_certificates.services.certificates.versions.pending import pending_json

from ..credentials import make_session, make_token
from ..tables import add_certificates, add_terminator, add_users, add_webhook, dump
from .visitor import HOST, OWN_PAGE, Visitor

# They are for everybody. Each has tests of its own.
PUBLIC = {
    "/console/static/{digest}/{name}",
    "/console/sign-in",
    "/console/sign-out",
    "/console/links/{token}",
}
CLOSED = [route for route in CONSOLE_ROUTES if route.template not in PUBLIC]
OF_A_USER = [
    route for route in CLOSED
    if "{user_id:id}" in route.template and (route.page.allow.users or route.page.allow.password)
]  # fmt: skip
# The first page leads each viewer to pages of its own.
OF_OPERATORS = [
    route for route in CLOSED if route not in OF_A_USER and route.template != "/console"
]
# Values for all fields that a page may read: one more reason to refuse is none to accept.
_FIELDS = {
    "name": "Mallory",
    "email": "mallory@example.com",
    "password": "correct horse battery staple",
    "new_password": "correct horse battery staple",
    "url": "https://hooks.example.com/",
    "hostname": "www.example.com",
    "hostnames": "www.example.com",
    "scopes": "certificates:read",
    "expires_in_days": "1",
    "thresholds": "30d",
    "certificates": "1",
    "active": "true",
    "version": "1",
    "confirm": "yes",
    "kind": "user",
}
# In all texts of another user.
STRANGER = "stranger"
_CONTENT = {
    "hostnames": "[]",
    "findings": "[]",
    "not_before": None,
    "not_after": None,
    "fingerprint_sha256": None,
}


class Cast:
    """A user with one of everything, another user with the same, and an operator."""

    def __init__(self, client: TestClient, engine: sa.Engine) -> None:
        self.client = client
        self.engine = engine
        (self.owner,) = add_users(engine, 1)
        (self.stranger,) = add_users(engine, 1, name=STRANGER)
        self.own = self._things(self.owner, "own")
        self.foreign = self._things(self.stranger, STRANGER)

    def _things(self, user_id: int, name: str) -> dict[str, int]:
        pending = pending_json(_CONTENT, 1, NEVER)
        (certificate_id,) = add_certificates(
            self.engine, user_id, 1, activate_at=NEVER, pending=pending, subject=name, issuer=name
        )
        url = f"https://{name}.example/"
        webhook_id, event_id = add_webhook(self.engine, user_id, url=url, description=name)
        return {
            "user_id": user_id,
            "certificate_id": certificate_id,
            "webhook_id": webhook_id,
            "event_id": event_id,
            "token_id": make_token(self.engine, "user", user_id, name=name).id,
            "terminator_id": 1,
        }

    def customer(self) -> Visitor:
        return Visitor(self.client, make_session(self.engine, user_id=self.owner))

    def operator(self) -> Visitor:
        token = make_token(self.engine, "operator")
        return Visitor(self.client, make_session(self.engine, token=token))

    def path(self, route: ConsoleRoute, **ids: int) -> str:
        return re.sub(
            r"\{(\w+)(:\w+)?\}", lambda found: str({**_TEXTS, **self.own, **ids}[found[1]]),
            route.template,
        )  # fmt: skip


_TEXTS = {"hostname": "www.example.com", "digest": "0", "name": "console.css", "token": "unknown"}


@pytest.fixture
def cast(closed: TestClient, engine: sa.Engine) -> Cast:
    add_terminator(engine)
    return Cast(closed, engine)


def _forms(page: type[Page]) -> Iterator[dict[str, str]]:
    """The forms that a page may get: one for each action that its module names."""
    source = Path(sys.modules[page.__module__].__file__ or "").read_text()
    lines = [line for line in source.splitlines() if re.search(r"\bcase\b|action", line.lower())]
    yield _FIELDS
    for action in sorted({*re.findall(r'"([a-z_-]+)"', "\n".join(lines))}):
        yield {**_FIELDS, "action": action}


@pytest.mark.one_backend
def test_every_page_asks_for_a_session(cast: Cast, subtests: pytest.Subtests) -> None:
    before = dump(cast.engine)
    for route in CLOSED:
        path = cast.path(route)
        with subtests.test(route.template):
            for secret in (None, token_format.new_secret(), "x" * 20_000, "ö", '"a;b"'):
                _assert_asks_to_sign_in(Visitor(cast.client, secret).get(path), path)
            visitor = Visitor(cast.client)
            _assert_asks_to_sign_in(visitor.send("HEAD", path, {}), "/console")
            posted = visitor.send("POST", path, OWN_PAGE, urlencode(_FIELDS))
            _assert_asks_to_sign_in(posted, "/console")
    assert dump(cast.engine) == before


def _assert_asks_to_sign_in(answer: Result, back: str) -> None:
    query = "" if back == "/console" else "?" + urlencode({"next": back})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/console/sign-in{query}")


@pytest.mark.one_backend
def test_a_script_is_sent_to_the_sign_in_page(cast: Cast) -> None:
    answer = Visitor(cast.client).get("/console/overview", {"HX-Request": "true"})

    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/console/sign-in")


@pytest.mark.one_backend
@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://evil.localhost:9000", "Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "none"},
    {"Origin": f"http://{HOST}.evil.example"},
    {"Origin": f"http://evil.example@{HOST}"},
    {},
])  # fmt: skip
def test_every_form_of_another_site_is_refused(
    headers: dict[str, str], cast: Cast, subtests: pytest.Subtests
) -> None:
    """Even with the session's cookie and CSRF token."""
    visitor = cast.operator()
    body = urlencode({"csrf": cookies.csrf_token(visitor.secret or ""), **_FIELDS})
    before = dump(cast.engine)
    for route in CONSOLE_ROUTES:
        with subtests.test(route.template):
            answer = visitor.send("POST", cast.path(route), headers, body)
            assert answer.status_code == 403
    assert dump(cast.engine) == before


@pytest.mark.one_backend
def test_every_form_without_its_csrf_token_is_refused(
    cast: Cast, subtests: pytest.Subtests
) -> None:
    other = cookies.csrf_token(make_session(cast.engine, user_id=cast.owner))
    for visitor in (cast.customer(), cast.operator()):
        before = dump(cast.engine)
        for route in [route for route in CONSOLE_ROUTES if hasattr(route.page, "on_post")]:
            with subtests.test(route.template):
                for token in ({}, {"csrf": other}, {"csrf": "é"}):
                    body = urlencode({**_FIELDS, **token})
                    answer = visitor.send("POST", cast.path(route), OWN_PAGE, body)
                    assert answer.status_code == 403
        assert dump(cast.engine) == before


def test_pages_of_another_user_look_nonexistent(cast: Cast, subtests: pytest.Subtests) -> None:
    requests = [
        (cast.path(route, **cast.foreign), fields)
        for route in OF_A_USER
        for fields in (None, *_forms(route.page))
    ]
    for asked, answer in _require_nonexistent(cast, subtests, requests):
        assert answer.status_code == 404, asked


def test_things_of_another_user_look_nonexistent(cast: Cast, subtests: pytest.Subtests) -> None:
    """As if they were own ones: in the URLs of own pages, and in fields."""
    ids = {**cast.foreign, "user_id": cast.owner}
    in_fields = {name: str(number) for name, number in cast.foreign.items() if name != "user_id"}
    routes = [route for route in OF_A_USER if _names(route) - {"user_id"}]
    requests = [
        (cast.path(route, **ids), fields and {**fields, **in_fields})
        for route in routes
        for fields in (None, *_forms(route.page))
    ]
    for asked, answer in _require_nonexistent(cast, subtests, requests):
        # Some forms are refused before anything is looked up.
        expected = (404, 405) if asked[1] is None else (400, 404, 405, 422)
        assert answer.status_code in expected, asked


@pytest.mark.one_backend
def test_ids_of_another_user_in_fields_change_nothing(
    cast: Cast, subtests: pytest.Subtests
) -> None:
    visitor = cast.customer()
    in_fields = {name: str(number) for name, number in cast.foreign.items()}
    before = dump(cast.engine)
    for route in OF_A_USER:
        if not hasattr(route.page, "on_post") or _names(route) - {"user_id"}:
            continue
        with subtests.test(route.template):
            for fields in _forms(route.page):
                answer = visitor.post(cast.path(route), **{**fields, **in_fields})
                assert answer.status_code < 500, fields
                assert STRANGER not in answer.text, fields
    after = dump(cast.engine)
    for table, rows in before.items():
        foreign = [row for row in rows if cast.stranger in row or STRANGER in str(row)]
        assert [row for row in after[table] if row in foreign] == foreign


Asked = tuple[str, dict[str, str] | None]


def _require_nonexistent(
    cast: Cast, subtests: pytest.Subtests, requests: list[Asked]
) -> list[tuple[Asked, Result]]:
    """Requires that a customer gets the same answers whether the other user exists or not."""
    visitor = cast.customer()

    def ask() -> list[Result]:
        return [
            visitor.get(path) if fields is None else visitor.post(path, **fields)
            for path, fields in requests
        ]

    before = dump(cast.engine)
    answers = ask()
    assert dump(cast.engine) == before
    with cast.engine.begin() as connection:
        connection.execute(sa.delete(User).where(User.id == cast.stranger))
    for (path, fields), one, other in zip(requests, answers, ask(), strict=True):
        if STRANGER in one.text or _shown(one) != _shown(other):
            with subtests.test(path, **fields or {}):
                assert STRANGER not in one.text
                assert _shown(one) == _shown(other)
    return list(zip(requests, answers, strict=True))


def _names(route: ConsoleRoute) -> set[str]:
    return {*re.findall(r"\{(\w+):id\}", route.template)}


@pytest.mark.one_backend
def test_a_form_without_a_known_button_changes_nothing(
    cast: Cast, subtests: pytest.Subtests
) -> None:
    visitor = cast.operator()
    before = dump(cast.engine)
    paths = [cast.path(route) for route in CLOSED if hasattr(route.page, "on_post")]
    with_buttons = [path for path in paths if 'name="action"' in visitor.get(path).text]
    for path in with_buttons:
        for fields in (_FIELDS, {**_FIELDS, "action": "unknown"}):
            with subtests.test(path, action=fields.get("action")):
                answer = visitor.post(path, **fields)
                assert answer.status_code == 400
                assert "The form has no such button." in answer.text
    assert len(with_buttons) > 5
    assert dump(cast.engine) == before


@pytest.mark.one_backend
def test_no_form_sends_a_key_back(cast: Cast, subtests: pytest.Subtests) -> None:
    """A person may paste a key into any field."""
    visitor, number = cast.operator(), 0
    for route in [route for route in CLOSED if hasattr(route.page, "on_post")]:
        if route.template.endswith("/delete"):
            continue
        for form in [form for form in _forms(route.page) if form.get("action") != "delete"]:
            for field in sorted(_fields(route.page)):
                number += 1
                content = f"MC4CAQAw{number:036}"
                key = f"-----BEGIN PRIVATE KEY-----\n{content}\n-----END PRIVATE KEY-----\n"
                answer = visitor.post(cast.path(route), **{**form, field: key})
                if content in answer.text:
                    with subtests.test(route.template, field=field, action=form.get("action")):
                        pytest.fail("The answer has the key.")


def _fields(page: type[Page]) -> set[str]:
    """The fields that the module of the page reads."""
    source = Path(sys.modules[page.__module__].__file__ or "").read_text()
    return {*re.findall(r'form\["(\w+)"\]', source)} - {"action"}


@pytest.mark.one_backend
def test_pages_of_operators_refuse_users(cast: Cast, subtests: pytest.Subtests) -> None:
    for by_password in (True, False):
        session = make_session(cast.engine, user_id=cast.owner, by_password=by_password)
        visitor = Visitor(cast.client, session)
        before = dump(cast.engine)
        for route in OF_OPERATORS:
            with subtests.test(route.template):
                path = cast.path(route)
                assert visitor.get(path).status_code == 403
                for fields in _forms(route.page):
                    assert visitor.post(path, **fields).status_code == 403
        assert dump(cast.engine) == before


@pytest.mark.one_backend
def test_every_page_answers_its_viewers(cast: Cast, subtests: pytest.Subtests) -> None:
    """A page that refuses everybody would pass the other tests."""
    for route in [route for route in CLOSED if hasattr(route.page, "on_get")]:
        viewers = [cast.operator()]
        if route not in OF_OPERATORS:
            viewers.append(cast.customer())
        for visitor in viewers:
            with subtests.test(route.template):
                _require_answered(visitor.get(cast.path(route)))


def _require_answered(answer: Result) -> None:
    """Some pages need a query, or a hostname or a certificate that the cast lacks."""
    assert answer.status_code in (200, 303, 404, 422)
    assert "sign-in" not in answer.headers.get("Location", "")


@pytest.mark.one_backend
def test_every_response_has_the_headers_of_pages(cast: Cast, subtests: pytest.Subtests) -> None:
    visitor = cast.operator()
    for path in [*map(cast.path, CONSOLE_ROUTES), "/console/unknown"]:
        with subtests.test(path):
            for method in ("GET", "OPTIONS", "POST"):
                answer = visitor.send(method, path, OWN_PAGE)
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'; script-src 'self';" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Frame-Options"] == "DENY"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.one_backend
@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:8000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"X-Forwarded-For": "192.0.2.1"},
    {"Forwarded": "for=192.0.2.1"},
])  # fmt: skip
def test_open_mode_is_guarded_on_every_route(
    headers: dict[str, str], client: TestClient, engine: sa.Engine, subtests: pytest.Subtests
) -> None:
    cast = Cast(client, engine)
    visitor = Visitor(client)
    before = dump(engine)
    for route in CONSOLE_ROUTES:
        with subtests.test(route.template):
            path = cast.path(route)
            assert visitor.send("GET", path, headers).status_code == 403
            body = urlencode(_FIELDS)
            assert visitor.send("POST", path, {**OWN_PAGE, **headers}, body).status_code == 403
    assert dump(engine) == before


@pytest.mark.one_backend
def test_every_page_works_in_open_mode(
    client: TestClient, engine: sa.Engine, subtests: pytest.Subtests
) -> None:
    add_terminator(engine)
    cast = Cast(client, engine)
    visitor = Visitor(client)
    for route in [route for route in CLOSED if hasattr(route.page, "on_get")]:
        with subtests.test(route.template):
            _require_answered(visitor.get(cast.path(route)))


@pytest.mark.one_backend
def test_open_mode_has_no_sessions(client: TestClient, engine: sa.Engine) -> None:
    """The pages for signing in and out lead to the console, and end no session."""
    cast = Cast(client, engine)
    make_session(cast.engine, user_id=cast.owner)
    before = dump(engine)
    visitor = Visitor(client)
    for path, fields in {
        "/console/sign-in": {"token": make_token(engine, "operator").text},
        "/console/sign-out": {"everywhere": "yes"},
    }.items():
        answer = visitor.post(path, **fields)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/console")
    assert visitor.secret is None
    assert dump(engine)["console_sessions"] == before["console_sessions"]


def _shown(answer: Result) -> tuple[int, str]:
    """The status and the page, without the id of the request."""
    return answer.status_code, re.sub(r"<code>[0-9a-f]{16}</code>", "", answer.text)
