"""Every route of the OpenAPI description rejects every principal without permission."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from falcon import Request, Response
from falcon.testing import Result, TestClient

from customer_certificates.app import create_app, description
from customer_certificates.crypto import token_format
from customer_certificates.models import NEVER, Token, User, Webhook
from customer_certificates.services.access.permissions import SCOPES
from customer_certificates.services.certificates.versions.pending import pending_json

from .conftest import Backend
from .credentials import Made, bearer, make_token
from .factories import an_upload
from .resources import refusal
from .tables import add_certificates, add_terminator, add_users, add_webhook, dump

OPERATOR = [{"token": ["operator"]}]


class Route(NamedTuple):
    """`security` is as in the description: a list of what is enough."""

    method: str
    path: str
    security: list[dict[str, list[str]]]

    @property
    def needed(self) -> list[str]:
        """The scopes that a user's token must have; kinds of tokens where it is not for users."""
        return [one for enough in self.security for one in enough.get("token", [])]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


ROUTES = [
    Route(method.upper(), path, operation["security"])
    for path, methods in description()["paths"].items()
    for method, operation in methods.items()
    if method != "parameters"
] + [Route("GET", "/metrics", OPERATOR)]
CLOSED = [route for route in ROUTES if route.security]
OF_TERMINATORS = [route for route in CLOSED if "terminator" in route.needed]
OF_OPERATORS = [route for route in CLOSED if route.needed != ["terminator"]]
OF_USERS = [route for route in CLOSED if not {"operator", "terminator"} & {*route.needed}]
ABOUT_A_USER = [route for route in OF_USERS if "{user_id}" in route.path]


# The bodies of changes to a certificate. Other operations take no body.
WANTED: dict[str, Any] = {
    f"{method} /users/{{user_id}}/certificates/{{certificate_id}}{more}": body
    for method, more, body in (
        ("PUT", "", an_upload(allow_lost_hostnames=True)),
        ("PATCH", "", {"labels": {"env": "production"}}),
        ("PATCH", "/active", {"active": False}),
        ("POST", "/rollback", {"version": 1}),
    )
}


# The columns of a certificate before its activation.
_CONTENT = {
    "hostnames": "[]",
    "findings": "[]",
    "not_before": None,
    "not_after": None,
    "fingerprint_sha256": None,
}


class Cast:
    """Two users with a certificate and a token each, and requests that are told who sends them."""

    def __init__(self, client: TestClient, engine: sa.Engine) -> None:
        self.client = client
        self.engine = engine
        self.owner, self.stranger = add_users(engine, 2)
        (self.own_certificate,) = add_certificates(
            engine, self.owner, 1, activate_at=NEVER, pending=pending_json(_CONTENT, 1, NEVER)
        )
        (self.foreign_certificate,) = add_certificates(engine, self.stranger, 1)
        self.own_webhook = add_webhook(engine, self.owner)
        self.foreign_webhook = add_webhook(engine, self.stranger)
        self.operators_webhook = add_webhook(engine, None)
        self.foreign_token = make_token(engine, "user", self.stranger)
        self.terminator_id = add_terminator(engine)

    def token(self, *scopes: str, **columns: Any) -> Made:
        """An object of the owner."""
        return make_token(self.engine, "user", self.owner, scopes or SCOPES, **columns)

    def ask(
        self, route: Route, headers: dict[str, str], *, sent: str = "no JSON", **ids: int
    ) -> Result:
        """Sends invalid JSON: rejected principals are rejected before it is read."""
        hook = self.own_webhook if "{user_id}" in route.path else self.operators_webhook
        ids = {
            "webhook_id": hook[0],
            "event_id": hook[1],
            "user_id": self.owner,
            "certificate_id": self.own_certificate,
            "token_id": self.foreign_token.id,
            "terminator_id": self.terminator_id,
            **ids,
        }
        path = route.path.format(
            **ids, name="index.html", hostname="www.example.com", verification_token="unknown"
        )
        # Where there is a body, a resource refuses it; where none is expected, none is sent.
        body = {} if route.method in ("GET", "DELETE") else {"body": sent}
        json = {"Content-Type": "application/json"} if body else {}
        return self.client.simulate_request(
            route.method, path, headers={"X-Request-Id": "the-same", **json, **headers}, **body
        )

    def dump(self) -> dict[str, Any]:
        """All tables except tokens, whose last use is written asynchronously."""
        return {name: rows for name, rows in dump(self.engine).items() if name != "tokens"}


@pytest.fixture
def cast(closed: TestClient, engine: sa.Engine) -> Cast:
    return Cast(closed, engine)


def of(routes: list[Route]) -> Callable[..., Any]:
    return pytest.mark.parametrize("route", routes, ids=str)


def _nothing(_: Cast) -> dict[str, str]:
    return {}


def _garbage(_: Cast) -> dict[str, str]:
    return bearer("garbage")


def _not_ascii(_: Cast) -> dict[str, str]:
    return bearer("ccert_user_1_é")


def _another_secret(cast: Cast) -> dict[str, str]:
    return bearer(token_format.write("user", cast.token().id, token_format.new_secret()))


def _another_kind(cast: Cast) -> dict[str, str]:
    parts = token_format.read(cast.token().text)
    assert parts
    return bearer(token_format.write("operator", parts.id, parts.secret))


def _never_made(_: Cast) -> dict[str, str]:
    return bearer(token_format.write("operator", 2**62, token_format.new_secret()))


def _misspelt(cast: Cast) -> dict[str, str]:
    text = cast.token().text
    return bearer(text[:-1] + ("0" if text[-1] != "0" else "1"))


def _expired(cast: Cast) -> dict[str, str]:
    return bearer(cast.token(expires_at=datetime.now(UTC)))


def _revoked(cast: Cast) -> dict[str, str]:
    return bearer(cast.token(revoked_at=datetime.now(UTC)))


def _unknown_scheme(cast: Cast) -> dict[str, str]:
    return {"Authorization": f"Token {cast.token().text}"}


NOBODY: dict[Callable[[Cast], dict[str, str]], str] = {
    _nothing: " missing. ",
    _garbage: "Malformed token",
    _not_ascii: "Malformed token",
    _misspelt: "Malformed token",
    _another_secret: "Unknown token",
    _another_kind: "Unknown token",
    _never_made: "Unknown token",
    _expired: "expired on",
    _revoked: "revoked on",
    _unknown_scheme: " missing. ",
}


@pytest.mark.one_backend
@pytest.mark.parametrize("who", NOBODY, ids=lambda who: who.__name__[1:])
def test_no_route_accepts_a_request_without_a_token(
    who: Callable[[Cast], dict[str, str]], cast: Cast, subtests: pytest.Subtests
) -> None:
    before = cast.dump()
    for route in CLOSED:
        with subtests.test(str(route)):
            answer = cast.ask(route, who(cast))
            assert refusal(answer) == (401, "unauthenticated", {})
            assert NOBODY[who] in answer.json["detail"]
            assert answer.headers["WWW-Authenticate"].endswith(
                'Bearer realm="customer-certificates"'
            )
    assert cast.dump() == before


@pytest.mark.one_backend
def test_the_state_of_a_token_is_not_revealed_without_its_secret(
    cast: Cast, subtests: pytest.Subtests
) -> None:
    ended = cast.token(expires_at=datetime.now(UTC), revoked_at=datetime.now(UTC))
    unknown = bearer(token_format.write("user", ended.id, token_format.new_secret()))

    for route in CLOSED:
        with subtests.test(str(route)):
            assert "Unknown token" in cast.ask(route, unknown).json["detail"]


def test_another_user_looks_nonexistent(cast: Cast, subtests: pytest.Subtests) -> None:
    before = cast.dump()
    webhook_id, event_id = cast.foreign_webhook
    foreign: dict[str, Any] = {
        "user_id": cast.stranger,
        "certificate_id": cast.foreign_certificate,
        "webhook_id": webhook_id,
        "event_id": event_id,
    }
    headers = bearer(cast.token())
    answers = {}
    for route in ABOUT_A_USER:
        with subtests.test(str(route)):
            answers[route.method, route.path] = answer = cast.ask(route, headers, **foreign)
            assert refusal(answer) == (404, "not-found", {})
            assert cast.dump() == before
    _delete(cast, cast.stranger)
    for route in ABOUT_A_USER:
        with subtests.test(f"{route}, deleted"):
            missing = cast.ask(route, headers, **foreign)
            assert _answered(missing) == _answered(answers[route.method, route.path])


def test_another_users_certificate_looks_nonexistent(cast: Cast, subtests: pytest.Subtests) -> None:
    """Asked for as if it were one's own, with all that its owner would send."""
    before = cast.dump()
    headers = bearer(cast.token())
    routes = [route for route in ABOUT_A_USER if "{certificate_id}" in route.path]

    def ask(route: Route) -> Result:
        path = route.path.format(user_id=cast.owner, certificate_id=cast.foreign_certificate)
        more = {"json": WANTED[str(route)]} if str(route) in WANTED else {}
        return cast.client.simulate_request(
            route.method, path, headers={"X-Request-Id": "the-same", **headers}, **more
        )

    answers = {}
    for route in routes:
        with subtests.test(str(route)):
            answers[route.method, route.path] = answer = ask(route)
            assert refusal(answer) == (404, "not-found", {})
            assert cast.dump() == before
    _delete(cast, cast.stranger)
    for route in routes:
        with subtests.test(f"{route}, deleted"):
            assert _answered(ask(route)) == _answered(answers[route.method, route.path])


def test_another_users_webhook_looks_nonexistent(cast: Cast, subtests: pytest.Subtests) -> None:
    before = cast.dump()
    headers = bearer(cast.token())
    routes = [route for route in ABOUT_A_USER if "webhook_id" in route.path]
    for owners, (webhook_id, event_id) in {
        "a stranger's": cast.foreign_webhook,
        "the operators'": cast.operators_webhook,
    }.items():
        ids: dict[str, Any] = {"webhook_id": webhook_id, "event_id": event_id}

        def ask(route: Route, ids: dict[str, Any] = ids) -> Result:
            sent = '{"after": 0}' if route.path.endswith("/replay") else "{}"
            return cast.ask(route, headers, sent=sent, **ids)

        answers = {}
        for route in routes:
            with subtests.test(f"{route}, {owners}"):
                answers[route.method, route.path] = answer = ask(route)
                assert refusal(answer) == (404, "not-found", {})
                assert cast.dump() == before
        with cast.engine.begin() as connection:
            connection.execute(sa.delete(Webhook).where(Webhook.id == webhook_id))
        before = cast.dump()
        for route in routes:
            with subtests.test(f"{route}, {owners}, deleted"):
                assert _answered(ask(route)) == _answered(answers[route.method, route.path])


def test_another_users_token_looks_nonexistent(cast: Cast) -> None:
    (route,) = [route for route in CLOSED if "token_id" in route.path]
    headers = bearer(cast.token())
    answer = cast.ask(route, headers)

    assert refusal(answer) == (404, "not-found", {})
    _delete(cast, cast.stranger)
    missing = cast.ask(route, headers)
    assert _answered(missing) == _answered(answer)


@pytest.mark.one_backend
@pytest.mark.parametrize("scope", SCOPES)
def test_a_rejected_token_learns_the_missing_scope(
    scope: str, cast: Cast, subtests: pytest.Subtests
) -> None:
    before = cast.dump()
    headers = bearer(cast.token(*(one for one in SCOPES if one != scope)))
    for route in [route for route in OF_USERS if scope in route.needed]:
        with subtests.test(str(route)):
            answer = cast.ask(route, headers)
            assert refusal(answer) == (403, "forbidden", {})
            assert f"the scope {scope}" in answer.json["detail"]
    assert cast.dump() == before


@pytest.mark.one_backend
def test_operator_routes_reject_users(cast: Cast, subtests: pytest.Subtests) -> None:
    headers = bearer(cast.token())
    for route in [route for route in CLOSED if route not in OF_USERS]:
        with subtests.test(str(route)):
            answer = cast.ask(route, headers)
            assert refusal(answer) == (403, "forbidden", {})
            assert all(kind in answer.json["detail"] for kind in route.needed)


@pytest.mark.one_backend
def test_terminators_access_only_their_routes(cast: Cast, subtests: pytest.Subtests) -> None:
    headers = bearer(make_token(cast.engine, "terminator"))
    for route in [route for route in CLOSED if route not in OF_TERMINATORS]:
        with subtests.test(str(route)):
            assert refusal(cast.ask(route, headers)) == (403, "forbidden", {})


@pytest.mark.one_backend
def test_a_password_is_accepted_only_for_creating_tokens(
    cast: Cast, subtests: pytest.Subtests
) -> None:
    headers = {"Authorization": "Basic YUBiLmM6cGFzc3dvcmQ="}
    for route in CLOSED:
        if any("password" in one for one in route.security):
            continue
        with subtests.test(str(route)):
            answer = cast.ask(route, headers)
            assert refusal(answer) == (401, "unauthenticated", {})
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="customer-certificates"'


@pytest.mark.one_backend
@of(OF_USERS)
def test_the_owner_needs_only_the_listed_scope(route: Route, cast: Cast) -> None:
    own = cast.token(*(route.needed or ["webhooks"]))
    answer = cast.ask(route, bearer(own), token_id=own.id)

    missing = {404} if "{hostname}" in route.path else set()
    assert answer.status_code in {200, 201, 202, 204, 400} | missing


@pytest.mark.one_backend
@of(OF_TERMINATORS)
def test_terminators_access_their_routes(route: Route, cast: Cast) -> None:
    answer = cast.ask(route, bearer(make_token(cast.engine, "terminator")))

    assert answer.status_code in {200, 204, 400, 422}


@pytest.mark.one_backend
def test_operators_get_no_keys(cast: Cast, subtests: pytest.Subtests) -> None:
    headers = bearer(make_token(cast.engine, "operator"))
    for route in [route for route in CLOSED if route not in OF_OPERATORS]:
        with subtests.test(str(route)):
            assert refusal(cast.ask(route, headers)) == (403, "forbidden", {})


@pytest.mark.one_backend
@of(OF_OPERATORS)
def test_operators_access_their_routes(route: Route, cast: Cast) -> None:
    answer = cast.ask(route, bearer(make_token(cast.engine, "operator")))

    # Nobody has the hostname.
    missing = {404} if "{hostname}" in route.path else set()
    assert answer.status_code in {200, 201, 202, 204, 400, 422} | missing


@pytest.mark.one_backend
def test_public_routes_are_listed(cast: Cast) -> None:
    anybodys = [route for route in ROUTES if not route.security]

    link = "/email-verifications/{verification_token}"
    assert {str(route): cast.ask(route, {}).status_code for route in anybodys} == {
        f"GET {link}": 404,
        f"POST {link}": 404,
        "GET /healthcheck": 200,
        "GET /livez": 200,
        "GET /readyz": 200,
    }


def test_the_tokens_of_a_deleted_user_are_rejected(cast: Cast) -> None:
    token = cast.token()
    assert cast.client.simulate_get("/tokens", headers=bearer(token)).status_code == 200
    _delete(cast, cast.owner)

    answer = cast.client.simulate_get("/tokens", headers=bearer(token))
    assert refusal(answer) == (401, "unauthenticated", {})


def test_a_token_expires_at_its_expiry(cast: Cast) -> None:
    token = cast.token()
    for expires_at, status in ((timedelta(minutes=1), 200), (timedelta(), 401)):
        with cast.engine.begin() as connection:
            connection.execute(
                sa.update(Token)
                .where(Token.id == token.id)
                .values(expires_at=datetime.now(UTC) + expires_at)
            )
        answer = cast.client.simulate_get(f"/users/{cast.owner}", headers=bearer(token))
        assert answer.status_code == status


def test_all_path_parameters_are_listed() -> None:
    names = {name for route in ROUTES for name in re.findall(r"\{(\w+)\}", route.path)}

    assert names == {
        *("user_id", "certificate_id", "token_id", "webhook_id", "event_id"),
        *("terminator_id", "verification_token", "hostname"),
    }


class Silent:
    """A resource without permissions."""

    def on_get(self, _req: Request, _resp: Response) -> None:
        raise AssertionError("it was asked")


@pytest.mark.one_backend
def test_a_route_without_permissions_rejects_everybody(backend: Backend, cast: Cast) -> None:
    app = create_app(backend.closed())
    app.add_route("/silent", Silent())
    for headers in ({}, bearer(cast.token()), bearer(make_token(cast.engine, "operator"))):
        answer = TestClient(app).simulate_get("/silent", headers=headers)
        assert refusal(answer) == (403, "forbidden", {})
    app.close()


def _answered(answer: Result) -> tuple[bytes, dict[str, str]]:
    """The response without its rate limit headers."""
    headers = {name: value for name, value in answer.headers.items() if name != "ratelimit"}
    return answer.content, headers


def _delete(cast: Cast, user_id: int) -> None:
    with cast.engine.begin() as connection:
        connection.execute(sa.delete(User).where(User.id == user_id))
