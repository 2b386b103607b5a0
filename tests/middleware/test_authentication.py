"""Without a token, every route rejects requests, for any method and spelling of its path."""

import itertools
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

import falcon.inspect
import pytest
import sqlalchemy as sa
from falcon.constants import COMBINED_METHODS
from falcon.testing import TestClient

from customer_certificates.app import Application

from ..credentials import bearer, make_token
from ..tables import add_users

pytestmark = pytest.mark.one_backend

PUBLIC = {"/", "/docs", "/openapi.json", "/healthcheck", "/livez", "/readyz"}
# Static files.
DOCS_FILES = "/docs/{name}"
# The secret is in the link.
BY_LINK = "/email-verifications/{verification_token}"
METHODS = (*COMBINED_METHODS, "WEBSOCKET", "FOO", "get", "Options")
# The preflight request of a browser for a page of another site.
PREFLIGHT = {
    "Origin": "https://evil.example",
    "Access-Control-Request-Method": "DELETE",
    "Access-Control-Request-Headers": "authorization",
}
_addresses = itertools.count(1)


def paths_of(app: Application) -> list[str]:
    """A path for each route that is not public."""
    templates = {route.path for route in falcon.inspect.inspect_routes(app)} - PUBLIC
    templates -= {BY_LINK, DOCS_FILES}
    assert len(templates) > 30
    named = [re.sub(r"{hostname[^}]*}", "www.example.com", template) for template in templates]
    return sorted(re.sub(r"{[^}]*}", "1", template) for template in named)


def spellings(path: str) -> list[str]:
    """Returns paths that some server, proxy or router treats like `path`."""
    inner = path[1:]
    return [
        path,
        f"//{inner}",
        f"///{inner}",
        f"{path}/",
        f"{path}//",
        path.replace("/", "//"),
        f"/.{path}",
        f"/x/..{path}",
        f"/{quote(inner, safe='')}",
        f"/%2F{inner}",
        f"/%2f{quote(inner, safe='')}%2f",
        path.upper(),
        f"{path};x=1",
        f"{path}%00",
        f"{path}%20",
        f"/healthcheck/..{path}",
        f"/healthcheck%2F..{path}",
        f"/livez;{path}",
    ]


def ask(client: TestClient, method: str, path: str) -> int:
    """Checks the status, and that no header allows requests from other sites."""
    number = next(_addresses)
    answer = client.simulate_request(
        method, path, headers=PREFLIGHT, remote_addr=f"198.19.{number // 256 % 256}.{number % 256}"
    )
    told = {name for name in answer.headers if name.lower().startswith("access-control-")}
    assert told == set()
    if answer.status_code == 401:
        assert "WWW-Authenticate" in answer.headers
        assert "Allow" not in answer.headers
    return answer.status_code


def by_method(paths: list[str]) -> Iterator[tuple[str, str]]:
    yield from itertools.product(METHODS, paths)


def by_spelling(paths: list[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        yield from itertools.product(("GET", "OPTIONS"), spellings(path))


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@pytest.mark.parametrize(
    ("requests_to", "statuses"), [(by_method, {401}), (by_spelling, {401, 404})]
)
def test_no_route_answers(
    closed: TestClient,
    request: pytest.FixtureRequest,
    requests_to: Callable[[list[str]], Iterator[tuple[str, str]]],
    statuses: set[int],
) -> None:
    """A spelling without a route is answered like any other unknown path."""
    paths = paths_of(request.getfixturevalue("_closed_app"))
    answered = {
        one: status for one in requests_to(paths) if (status := ask(closed, *one)) not in statuses
    }
    assert answered == {}


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_public_routes_are_read_and_nothing_else(closed: TestClient, path: str) -> None:
    found = {method: ask(closed, method, path) for method in METHODS}

    assert {found.pop(method) for method in ("GET", "HEAD", "OPTIONS")} == {200}
    assert set(found.values()) <= {400, 405}


def test_a_token_may_ask_which_methods_there_are(closed: TestClient, engine: sa.Engine) -> None:
    headers = bearer(make_token(engine, "user", user_id=add_users(engine, 1)[0]).text)
    answer = closed.simulate_options("/users", headers={**headers, **PREFLIGHT})

    assert (answer.status_code, answer.headers["Allow"]) == (200, "GET, HEAD, POST")
    assert closed.simulate_put("/users", headers=headers).status_code == 405
