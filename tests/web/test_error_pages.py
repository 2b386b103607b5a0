"""Each type of problem has a page, and the example on the page is what the service answers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from customer_certificates.app import create_app
from customer_certificates.middleware.refused import STATUS
from customer_certificates.server import connection
from customer_certificates.web.problems import STATUSES, kind_of

from ..conftest import Backend
from ..credentials import make_token
from ..documents.answers import agrees
from ..resources import PROBLEM
from ..resources.test_audit import put_in_the_way
from ..servers import free_port

pytestmark = pytest.mark.one_backend

PAGES = Path(__file__).parents[2] / "docs/reference/errors"
PROBLEMS = sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "README")
# Types of the framework and of unexpected errors, which have no class in errors.py.
OTHERS = {"bad-request", "internal", "method-not-allowed"}
# Problems of requests that the HTTP server rejects before it has read them.
UNREADABLE = {
    "bad-request": 400,
    "too-slow": 408,
    "request-header-fields-too-large": 431,
    "http-version-not-supported": 505,
}
# The application that answers, if it is not the one that requires no credentials.
CLIENTS = {
    "unauthenticated": "closed",
    "forbidden": "closed",
    "too-many-requests": "limited",
    "internal": "failing",
    "unavailable": "without_database",
}
MOST_ATTEMPTS = 20


@pytest.fixture
def ada(client: TestClient) -> int:
    """The id of the user of the examples."""
    user = {"name": "Ada Lovelace", "email": "ada@example.com", "password": "Analytical 1843"}
    return int(client.simulate_post("/users", json=user).json["id"])


@pytest.fixture
def failing(client: TestClient, engine: sa.Engine, ada: int) -> TestClient:
    """An application that cannot record the next change of the user."""
    put_in_the_way(engine, ada, 2)
    return client


@pytest.fixture
def limited(backend: Backend) -> Iterator[TestClient]:
    """An application that accepts few requests a second from an address."""
    app = create_app(backend.config(CC_RATE_LIMIT="4"))
    yield TestClient(app, headers={"Host": "localhost:9000"})
    app.close()


@pytest.fixture
def without_database(backend: Backend) -> Iterator[TestClient]:
    """An application whose database server is down."""
    nowhere = f"postgresql://service:secret@127.0.0.1:{free_port()}/certificates"
    app = create_app(backend.config(CC_DATABASE_URL=nowhere, CC_DATABASE_OWNER_URL=nowhere))
    yield TestClient(app, headers={"Host": "localhost:9000"})
    app.close()


def test_each_problem_type_has_a_page_and_a_row_in_the_index() -> None:
    index = (PAGES / "README.md").read_text()
    in_index = re.findall(r"^\| (\d+) \| \[`([a-z-]+)`\]\(\2\.md\)", index, re.MULTILINE)

    assert set(PROBLEMS) == {kind_of(refusal) for refusal in STATUSES} | OTHERS | _of_the_server()
    assert sorted(in_index, key=lambda row: row[1]) == [(_status(name), name) for name in PROBLEMS]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_example_of_a_page_is_the_answer(
    request: pytest.FixtureRequest, ada: int, problem: str
) -> None:
    page = (PAGES / f"{problem}.md").read_text()
    (sent,) = re.findall(r"^```http\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)

    answer = _send(request, ada, problem, sent)

    assert page.startswith(f"# `{problem}`\n")
    assert answer.json["type"] == f"{PROBLEM}{problem}"
    assert answer.status_code == int(_status(problem))
    assert agrees(shown, answer.text, is_json=True), answer.text


def _status(problem: str) -> str:
    (status,) = re.findall(r"^Status (\d+)\.", (PAGES / f"{problem}.md").read_text(), re.MULTILINE)
    return str(status)


def _of_the_server() -> set[str]:
    """The types of problems that the HTTP server finds."""
    names = re.findall(r"HTTPStatus\.([A-Z_]+)", Path(str(connection.__file__)).read_text())
    types = {name.lower().replace("_", "-") for name in names}
    # It has a class in errors.py, whose name is shorter.
    return types - {"request-timeout"}


def _send(request: pytest.FixtureRequest, owner: int, problem: str, text: str) -> Result:
    """Sends the request of a page, which is repeated until it exceeds a limit on that page."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.splitlines()
    method, path = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    if "USER_TOKEN" in headers.get("Authorization", ""):
        token = make_token(request.getfixturevalue("engine"), user_id=owner).text
        headers["Authorization"] = f"Bearer {token}"
    client: TestClient = request.getfixturevalue(CLIENTS.get(problem, "client"))
    for _ in range(MOST_ATTEMPTS):
        answer = client.simulate_request(
            method,
            f"/users/{owner}" if path == "/users/1" else path,
            headers=None if problem in UNREADABLE else headers,
            body=body.strip().replace("…", "x" * 256 * 1024) or None,
            extras={STATUS: UNREADABLE[problem]} if problem in UNREADABLE else None,
        )
        if problem != "too-many-requests" or answer.status_code == 429:
            return answer
    raise AssertionError("no limit")
