"""How sessions of the console begin and end."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import create_app
from customer_certificates.console import cookies
from customer_certificates.crypto import token_format
from customer_certificates.models import AuditEntry, ConsoleSession, Token, User
from customer_certificates.services.access.console_sessions import MOST_SESSIONS

from ..applications import Clock
from ..conftest import Backend
from ..credentials import bearer, make_session, make_token
from ..factories import a_user
from ..pki import authority
from ..tables import add_users, dump
from .visitor import HOST, OWN_PAGE, Visitor, links_of

_PASSWORD = "a long and uncommon password"
_SIGN_IN = "/console/sign-in"


@pytest.fixture(scope="module")
def _moved(backend: Backend) -> Iterator[tuple[TestClient, Clock]]:
    clock = Clock()
    app = create_app(backend.closed(), now=clock)
    yield TestClient(app), clock
    app.close()


@pytest.fixture
def clock(_moved: tuple[TestClient, Clock], engine: sa.Engine) -> Clock:
    _moved[1].now = authority.NOW
    return _moved[1]


@pytest.fixture
def visitor(_moved: tuple[TestClient, Clock], clock: Clock) -> Visitor:
    return Visitor(_moved[0])


def _user(closed: TestClient, engine: sa.Engine) -> dict[str, str]:
    user = a_user(password=_PASSWORD)
    headers = bearer(make_token(engine, "operator"))
    answer = closed.simulate_post("/users", json=user, headers=headers)
    return {**user, "home": f"/console{answer.headers['Location']}/certificates"}


def _sign_in(visitor: Visitor, user: dict[str, str]) -> str:
    visitor.get(_SIGN_IN)
    answer = visitor.post(_SIGN_IN, email=user["email"], password=user["password"])
    assert answer.status_code == 303, answer.text
    assert visitor.get(user["home"]).status_code == 200
    return visitor.secret or ""


def test_a_session_ends_after_half_an_hour_without_a_request(
    visitor: Visitor, clock: Clock, closed: TestClient, engine: sa.Engine
) -> None:
    user = _user(closed, engine)
    _sign_in(visitor, user)
    for _ in range(3):
        clock.now += timedelta(minutes=28)
        assert visitor.get(user["home"]).status_code == 200
    clock.now += timedelta(minutes=30)

    assert visitor.get(user["home"]).status_code == 303


@pytest.mark.one_backend("sqlite")
def test_a_page_is_shown_while_the_database_takes_no_writes(
    visitor: Visitor, clock: Clock, closed: TestClient, engine: sa.Engine
) -> None:
    """The use is not recorded, so the session ends half an hour after the use before."""
    user = _user(closed, engine)
    _sign_in(visitor, user)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER no_writes BEFORE UPDATE ON console_sessions "
            "BEGIN INSERT INTO missing VALUES (1); END"
        )
    try:
        clock.now += timedelta(minutes=20)
        shown = visitor.get(user["home"]).status_code
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER no_writes")
    clock.now += timedelta(minutes=10)

    assert (shown, visitor.get(user["home"]).status_code) == (200, 303)


def test_a_session_ends_twelve_hours_after_the_sign_in(
    visitor: Visitor, clock: Clock, closed: TestClient, engine: sa.Engine
) -> None:
    user = _user(closed, engine)
    _sign_in(visitor, user)
    for _ in range(35):
        clock.now += timedelta(minutes=20)
        assert visitor.get(user["home"]).status_code == 200
    clock.now += timedelta(minutes=20)

    assert visitor.get(user["home"]).status_code == 303


@pytest.mark.parametrize("table", [User, Token])
def test_a_session_ends_with_its_user_or_token(
    table: type[User] | type[Token], closed: TestClient, engine: sa.Engine
) -> None:
    visitor = Visitor(closed)
    visitor.get(_SIGN_IN)
    if table is User:
        user = _user(closed, engine)
        _sign_in(visitor, user)
        path = user["home"]
    else:
        visitor.post(_SIGN_IN, token=make_token(engine, "operator").text)
        path = "/console/overview"
        assert visitor.get(path).status_code == 200
    with engine.begin() as connection:
        connection.execute(sa.delete(table))

    assert visitor.get(path).status_code == 303


def test_a_revoked_token_ends_its_sessions(closed: TestClient, engine: sa.Engine) -> None:
    token = make_token(engine, "operator")
    visitor = Visitor(closed)
    visitor.get(_SIGN_IN)
    visitor.post(_SIGN_IN, token=token.text)
    assert visitor.get("/console/overview").status_code == 200
    closed.simulate_delete(f"/tokens/{token.id}", headers=bearer(token))

    assert visitor.get("/console/overview").status_code == 303


def test_a_new_password_ends_every_session(closed: TestClient, engine: sa.Engine) -> None:
    user = _user(closed, engine)
    visitors = [Visitor(closed), Visitor(closed)]
    for visitor in visitors:
        _sign_in(visitor, user)
    path = user["home"].removeprefix("/console").removesuffix("/certificates")
    headers = bearer(make_token(engine, "operator"))
    closed.simulate_patch(path, json={"password": "another uncommon one"}, headers=headers)

    assert [visitor.get(user["home"]).status_code for visitor in visitors] == [303, 303]


def test_a_sign_in_ends_the_oldest_of_many_sessions(
    visitor: Visitor, clock: Clock, closed: TestClient, engine: sa.Engine
) -> None:
    """Thus nobody can fill the table. A token and a user have as many each."""
    token = make_token(engine, "operator", now=clock.now)
    row = {
        "token_id": token.id,
        "by_password": False,
        "last_seen_at": clock.now,
        "expires_at": clock.now + timedelta(hours=1),
    }
    secrets = [token_format.new_secret() for _ in range(MOST_SESSIONS)]
    with engine.begin() as connection:
        for age, secret in enumerate(secrets):
            at = {
                "secret_sha256": token_format.digest(secret),
                "created_at": clock.now - timedelta(seconds=age),
            }
            connection.execute(sa.insert(ConsoleSession).values({**row, **at}))
    _sign_in(visitor, _user(closed, engine))
    visitor.secret = None
    visitor.get(_SIGN_IN)
    visitor.post(_SIGN_IN, token=token.text)

    kept = {bytes(one[0]) for one in dump(engine)["console_sessions"]}
    expected = {token_format.digest(secret) for secret in [*secrets[:-1], visitor.secret or ""]}
    assert len(kept) == MOST_SESSIONS + 1
    assert expected < kept


def test_signing_out_everywhere_ends_only_own_sessions(
    closed: TestClient, engine: sa.Engine
) -> None:
    user, other = _user(closed, engine), _user(closed, engine)
    first, second, stranger, operator = (Visitor(closed) for _ in range(4))
    for visitor, whose in ((first, user), (second, user), (stranger, other)):
        _sign_in(visitor, whose)
    operator.get(_SIGN_IN)
    operator.post(_SIGN_IN, token=make_token(engine, "operator").text)
    stolen = first.secret
    first.post("/console/sign-out", everywhere="yes")

    assert first.secret != stolen
    assert Visitor(closed, stolen).get(user["home"]).status_code == 303
    assert second.get(user["home"]).status_code == 303
    assert stranger.get(other["home"]).status_code == 200
    assert operator.get("/console/overview").status_code == 200
    operator.post("/console/sign-out", everywhere="yes")
    assert stranger.get(other["home"]).status_code == 200


def test_signing_out_ends_this_session_only(closed: TestClient, engine: sa.Engine) -> None:
    user = _user(closed, engine)
    here, there = Visitor(closed), Visitor(closed)
    stolen = _sign_in(here, user)
    _sign_in(there, user)
    here.post("/console/sign-out")

    assert Visitor(closed, stolen).get(user["home"]).status_code == 303
    assert there.get(user["home"]).status_code == 200


def test_the_secret_before_a_sign_in_names_no_session(
    closed: TestClient, engine: sa.Engine
) -> None:
    """An attacker who knows the first cookie of a browser does not know its session."""
    user = _user(closed, engine)
    planted = token_format.new_secret()
    victim = Visitor(closed, planted)
    _sign_in(victim, user)

    assert victim.secret != planted
    assert Visitor(closed, planted).get(user["home"]).status_code == 303
    second = victim.secret
    _sign_in(victim, user)
    assert victim.secret != second
    assert Visitor(closed, second).get(user["home"]).status_code == 303


@pytest.mark.one_backend
def test_the_cookie_is_one_that_scripts_and_other_sites_cannot_use(closed: TestClient) -> None:
    cookie = Visitor(closed).get(_SIGN_IN).headers["Set-Cookie"]
    name, _, attributes = cookie.partition("=")

    assert name == "__Host-console"
    assert {*attributes.split("; ")[1:]} == {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"}


@pytest.mark.one_backend
def test_two_cookies_are_none(closed: TestClient, engine: sa.Engine) -> None:
    user = _user(closed, engine)
    visitor = Visitor(closed)
    secret = _sign_in(visitor, user)
    both = f"{cookies.NAME}={secret}; {cookies.NAME}={token_format.new_secret()}"

    assert visitor.get(user["home"], {"Cookie": both}).status_code == 303


@pytest.mark.one_backend
def test_the_console_takes_no_token_and_the_api_no_cookie(
    closed: TestClient, engine: sa.Engine
) -> None:
    token = make_token(engine, "operator")
    visitor = Visitor(closed)
    assert visitor.get("/console/overview", bearer(token)).status_code == 303
    visitor.get(_SIGN_IN)
    visitor.post(_SIGN_IN, token=token.text)

    assert visitor.get("/console/overview").status_code == 200
    for path in ("/users", "/users/1", "/metrics", "/hostnames", "/audit"):
        assert visitor.get(path).status_code == 401


@pytest.mark.one_backend
@pytest.mark.parametrize("path", ["/consolex", "//console", "/Console", "/console;x", "/x/console"])
def test_paths_that_only_look_like_the_console_are_of_the_api(
    path: str, closed: TestClient
) -> None:
    answer = Visitor(closed).get(path)

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.one_backend
@pytest.mark.parametrize("path", ["/console/", "/console/x", "/console/x/y", "/console/../users"])
def test_unknown_paths_of_the_console_show_a_page(path: str, closed: TestClient) -> None:
    answer = Visitor(closed).get(path)

    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.status_code == (303 if path == "/console/" else 404)


@pytest.mark.one_backend
@pytest.mark.parametrize("target", [
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "/console//evil.example",
    "/console\\@evil.example",
    "/console@evil.example",
    "/console.evil.example",
    "/console/\nSet-Cookie: x=y",
    "/console/é",
    "javascript:alert(1)",
    "/users/1",
])  # fmt: skip
def test_signing_in_leads_to_no_other_site(
    target: str, closed: TestClient, engine: sa.Engine
) -> None:
    visitor = Visitor(closed)
    path = f"{_SIGN_IN}?next={quote(target)}"
    visitor.get(path)
    answer = visitor.post(path, token=make_token(engine, "operator").text)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/console")
    assert visitor.get(path).headers["Location"] == "/console"


@pytest.mark.one_backend
def test_signing_in_leads_back_to_the_page(closed: TestClient, engine: sa.Engine) -> None:
    visitor = Visitor(closed)
    page = "/console/users/1/certificates?hostname=a.example&status=active"
    sign_in = visitor.get(page).headers["Location"]
    visitor.get(sign_in)
    answer = visitor.post(sign_in, token=make_token(engine, "operator").text)

    assert answer.headers["Location"] == page


@pytest.mark.one_backend
def test_only_operators_sign_in_with_a_token(closed: TestClient, engine: sa.Engine) -> None:
    user_id = int(_user(closed, engine)["home"].split("/")[3])
    visitor = Visitor(closed)
    visitor.get(_SIGN_IN)
    for token in (make_token(engine, "user", user_id), make_token(engine, "terminator")):
        answer = visitor.post(_SIGN_IN, token=token.text)
        assert answer.status_code == 403
        assert token.text not in answer.text
    assert dump(engine)["console_sessions"] == []


def test_failed_sign_ins_are_throttled(closed: TestClient, engine: sa.Engine) -> None:
    """Also with the API, which counts the same failures."""
    user = _user(closed, engine)
    # Other tests sign in from the usual address.
    visitor = Visitor(closed, peer="192.0.2.77")
    visitor.get(_SIGN_IN)
    statuses = [
        visitor.post(_SIGN_IN, email=user["email"], password="wrong password").status_code
        for _ in range(12)
    ]
    answer = visitor.post(_SIGN_IN, email=user["email"], password=_PASSWORD)

    assert set(statuses) == {401, 429}
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert "Retry in" in answer.text
    assert "wrong password" not in answer.text


def test_sign_ins_are_in_the_audit_log(closed: TestClient, engine: sa.Engine) -> None:
    user = _user(closed, engine)
    visitor = Visitor(closed)
    _sign_in(visitor, user)
    visitor.post("/console/sign-out")
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(AuditEntry.action, AuditEntry.detail)
            .where(AuditEntry.action.like("console.%"))
            .order_by(AuditEntry.seq)
        ).all()

    assert [tuple(row) for row in rows] == [
        ("console.sign_in", '{"by":"password"}'),
        ("console.sign_out", '{"sessions":1}'),
    ]


@pytest.mark.one_backend
def test_the_files_of_a_page_are_not_counted(backend: Backend, engine: sa.Engine) -> None:
    """The smallest limit admits a burst of two requests; a page loads four files."""
    app = create_app(backend.closed(CC_RATE_LIMIT="1"))
    client = TestClient(app)
    page = Visitor(client).get(_SIGN_IN)
    files = [link for link in links_of(page) if link.startswith("/console/static/")]
    assert len(files) == 4
    for path in files * 2:
        answer = Visitor(client).get(path)
        assert answer.status_code == 200
        # A shared cache may store the file, so it must not have a cookie.
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Cache-Control"].startswith("public")
    statuses = [Visitor(client).get("/console/static/0/x").status_code for _ in range(5)]
    app.close()
    assert statuses[-1] == 429


@pytest.mark.one_backend
def test_a_form_beyond_the_rate_limit_does_not_load_its_page(
    backend: Backend, engine: sa.Engine
) -> None:
    (user_id,) = add_users(engine, 1)
    app = create_app(backend.closed(CC_RATE_LIMIT="1"))
    visitor = Visitor(TestClient(app), make_session(engine, user_id=user_id))
    path = f"/console/users/{user_id}/hostnames"
    answers = [visitor.post(path, hostname="not a name!") for _ in range(4)]
    app.close()

    assert 'name="hostname"' in answers[0].text
    assert answers[-1].status_code == 429
    assert "<h1>Too Many Requests</h1>" in answers[-1].text
    assert 'name="hostname"' not in answers[-1].text


@pytest.mark.one_backend
@pytest.mark.parametrize(("content_type", "body", "status"), [
    ("text/plain", "csrf=x", 415),
    ("application/json", "{}", 415),
    ("multipart/form-data", "x", 400),
    ("multipart/form-data; boundary=b", "--b\r\n" * 20_000, 400),
    ("multipart/form-data; boundary=b",
     '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 65 + "--b--\r\n", 400),
    ("multipart/form-data; boundary=b",
     "--b\r\nContent-Disposition: form-data; name*=utf-9''%ff\r\n\r\nx\r\n--b--\r\n", 403),
    ("multipart/form-data; boundary=b",
     "--b\r\nContent-Disposition: form-data; name=a; filename*=utf-9''%ff\r\n\r\nx\r\n--b--\r\n",
     400),
    ("multipart/form-data; boundary=b",
     "--b\r\n" + "X-Header: x\r\n" * 1000 + "\r\nx\r\n--b--\r\n", 400),
    ("application/x-www-form-urlencoded", "a=b&" * 300, 400),
    ("application/x-www-form-urlencoded", "a=%ff", 400),
    ("application/x-www-form-urlencoded", "a" * 300_000, 413),
    ("application/x-www-form-urlencoded", "", 403),
])  # fmt: skip
def test_a_malformed_form_is_refused(
    content_type: str, body: str, status: int, closed: TestClient
) -> None:
    visitor = Visitor(closed)
    visitor.get(_SIGN_IN)
    answer = visitor.send("POST", _SIGN_IN, {**OWN_PAGE, "Content-Type": content_type}, body)

    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Internal error" not in answer.text


@pytest.mark.one_backend
def test_a_proxy_may_change_the_host(closed: TestClient, engine: sa.Engine) -> None:
    """Then the browser vouches for the form, or CC_PUBLIC_URL has its origin."""
    for headers, status in (
        ({"Origin": "https://certificates.example", "Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "https://certificates.example"}, 303),
        ({"Origin": "http://certificates.example"}, 403),
        ({"Origin": "https://backend:9000"}, 303),
        ({"Origin": "http://backend:9000"}, 303),
        ({"Origin": "https://other.example"}, 403),
    ):
        visitor = Visitor(closed)
        visitor.get(_SIGN_IN)
        csrf = cookies.csrf_token(visitor.secret or "")
        body = f"csrf={csrf}&token={make_token(engine, 'operator').text}"
        answer = visitor.send("POST", _SIGN_IN, {"Host": "backend:9000", **headers}, body)
        assert answer.status_code == status, headers


@pytest.mark.one_backend
def test_the_request_id_is_shown_as_text(closed: TestClient) -> None:
    answer = Visitor(closed).get("/console/x", {"X-Request-Id": "<script>alert(1)</script>"})

    assert "<script>alert" not in answer.text
    assert HOST not in answer.text
