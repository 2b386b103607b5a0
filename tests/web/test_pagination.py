import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient

from ..factories import a_user, an_upload
from ..resources import refusal
from ..tables import add_certificates, add_users

pytestmark = pytest.mark.one_backend

LARGEST = 2**63 - 1


@pytest.fixture(params=["users", "certificates"])
def path(request: pytest.FixtureRequest, engine: sa.Engine) -> str:
    """An empty list."""
    if request.param == "users":
        return "/users"
    (owner,) = add_users(engine, 1)
    return f"/users/{owner}/certificates"


@pytest.fixture
def add(path: str, engine: sa.Engine) -> Callable[[int], list[int]]:
    """Adds items to the list before its first read, and returns their ids."""
    if path == "/users":
        return lambda number: add_users(engine, number)
    owner = int(path.split("/")[2])
    return lambda number: add_certificates(engine, owner, number)


def ids(answer: Result) -> list[int]:
    assert answer.status_code == 200
    return [item["id"] for item in answer.json]


def next_of(answer: Result) -> str | None:
    link = answer.headers.get("Link")
    if link is None:
        return None
    matched = re.fullmatch(r'<([^<>]+)>; rel="next"', link)
    assert matched
    return matched[1]


def walk(client: TestClient, url: str, meanwhile: Callable[[], Any] = lambda: None) -> list[int]:
    """Returns the ids of all items, in the order of the pages."""
    found: list[int] = []
    following: str | None = url
    while following:
        target = urlsplit(following)
        answer = client.simulate_get(target.path, query_string=target.query)
        found += ids(answer)
        if following := next_of(answer):
            meanwhile()
    return found


def test_an_empty_list_is_a_bare_array(client: TestClient, path: str) -> None:
    answer = client.simulate_get(path)

    assert (answer.status_code, answer.text) == (200, "[]")
    assert "Link" not in answer.headers


def test_a_page_has_a_hundred_items_by_default(
    client: TestClient, path: str, add: Callable[[int], list[int]]
) -> None:
    added = add(101)
    answer = client.simulate_get(path)

    assert ids(answer) == added[:100]
    assert next_of(answer) == f"{path}?after={added[99]}"


def test_a_page_has_a_thousand_items_at_most(
    client: TestClient, path: str, add: Callable[[int], list[int]]
) -> None:
    added = add(1001)
    answer = client.simulate_get(path, params={"limit": 1000})

    assert ids(answer) == added[:1000]
    assert walk(client, f"{path}?limit=1000") == added
    assert refusal(client.simulate_get(path, params={"limit": 1001})) == (
        422,
        "invalid",
        {"limit": "invalid_parameter"},
    )


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
def test_following_the_links_gives_every_item_once(
    client: TestClient, path: str, add: Callable[[int], list[int]], limit: int
) -> None:
    added = add(7)

    assert walk(client, f"{path}?limit={limit}") == added
    # As a client does who knows of no Link, but of the last id it saw.
    found: list[int] = []
    while page := ids(
        client.simulate_get(path, params={"limit": limit, "after": found[-1] if found else 0})
    ):
        found += page
    assert found == added


@pytest.mark.parametrize("trailing", ["", "/"])
def test_no_link_where_nothing_follows(
    client: TestClient, path: str, add: Callable[[int], list[int]], trailing: str
) -> None:
    added = add(3)

    for after, limit, follows in ((0, 3, False), (0, 2, True), (added[0], 2, False)):
        answer = client.simulate_get(path + trailing, params={"limit": limit, "after": after})
        assert (next_of(answer) is not None) is follows
    beyond = client.simulate_get(path, params={"after": LARGEST})
    assert (ids(beyond), next_of(beyond)) == ([], None)


@pytest.mark.both_backends
def test_items_added_during_pagination_are_listed_once(
    client: TestClient, owner: int, stranger: int
) -> None:
    path = f"/users/{owner}/certificates"
    added = [client.simulate_post(path, json=an_upload()).json["id"] for _ in range(4)]
    more = iter(range(3))

    def upload() -> None:
        if next(more, None) is not None:
            client.simulate_post(f"/users/{stranger}/certificates", json=an_upload())
            added.append(client.simulate_post(path, json=an_upload()).json["id"])

    assert walk(client, f"{path}?limit=2", upload) == added
    assert len(added) == 6


@pytest.mark.both_backends
def test_users_registered_during_pagination_are_listed_once(client: TestClient) -> None:
    added = [client.simulate_post("/users", json=a_user()).json["id"] for _ in range(3)]
    more = iter(range(2))

    def register() -> None:
        if next(more, None) is not None:
            added.append(client.simulate_post("/users", json=a_user()).json["id"])

    assert walk(client, "/users?limit=2", register) == added
    assert len(added) == 4


@pytest.mark.both_backends
def test_items_deleted_during_a_walk_hide_no_others(client: TestClient, owner: int) -> None:
    path = f"/users/{owner}/certificates"
    added = [client.simulate_post(path, json=an_upload()).json["id"] for _ in range(6)]
    doomed = iter([added[1], added[2]])

    def delete() -> None:
        if (certificate_id := next(doomed, None)) is not None:
            client.simulate_delete(f"{path}/{certificate_id}")

    # The second was seen and is the `after` of the next page; the third had not been seen.
    assert walk(client, f"{path}?limit=2", delete) == [added[0], added[1], *added[2:]]
    assert walk(client, f"{path}?limit=2") == [added[0], *added[3:]]


@pytest.mark.parametrize("active", ["true", "false"])
def test_a_walk_over_some_keeps_to_them(
    client: TestClient, engine: sa.Engine, owner: int, active: str
) -> None:
    added: dict[str, list[int]] = {"true": [], "false": []}
    for name in ("true", "false", "false", "true", "true", "false"):
        added[name] += add_certificates(engine, owner, 2, active=name == "true")

    walked = walk(client, f"/users/{owner}/certificates?active={active}&limit=4")
    assert walked == added[active]


def test_others_items_are_no_part_of_a_walk(
    client: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    added = []
    for _ in range(3):
        added += add_certificates(engine, owner, 1)
        add_certificates(engine, stranger, 2)

    assert walk(client, f"/users/{owner}/certificates?limit=1") == added


def test_the_link_has_the_parameters_of_the_request(
    client: TestClient, path: str, add: Callable[[int], list[int]]
) -> None:
    added = add(2)
    answer = client.simulate_get(path, query_string="limit=1&after=0")

    assert ids(answer) == added[:1]
    following = urlsplit(next_of(answer) or "")
    assert following.path == path
    assert parse_qs(following.query) == {"limit": ["1"], "after": [str(added[0])]}


NO_WHOLE_NUMBERS = [
    "",
    "-1",
    "+1",
    "1.0",
    "1e1",
    "abc",
    "１",
    "٣",
    " 1",
    "1 ",
    "0x1",
    "null",
    "\x00",
]


@pytest.mark.parametrize("value", [*NO_WHOLE_NUMBERS, "0", "1001", str(2**64), "9" * 1000])
def test_limit_is_a_whole_number_up_to_a_thousand(
    client: TestClient, path: str, value: str
) -> None:
    answer = client.simulate_get(path, params={"limit": value})

    assert refusal(answer) == (422, "invalid", {"limit": "invalid_parameter"})


@pytest.mark.parametrize("value", [*NO_WHOLE_NUMBERS, str(2**63), str(2**64), "9" * 1000])
def test_after_is_an_id_or_zero(client: TestClient, path: str, value: str) -> None:
    answer = client.simulate_get(path, params={"after": value})

    assert refusal(answer) == (422, "invalid", {"after": "invalid_parameter"})


def test_all_invalid_query_parameters_are_reported_together(client: TestClient, owner: int) -> None:
    path = f"/users/{owner}/certificates"
    answer = client.simulate_get(path, query_string="active=x&limit=0&after=1&after=2")

    assert refusal(answer) == (
        422,
        "invalid",
        {"active": "invalid_parameter", "limit": "invalid_parameter", "after": "invalid_parameter"},
    )


def test_users_are_found_by_email(client: TestClient, owner: int, stranger: int) -> None:
    user = client.simulate_get(f"/users/{owner}").json

    assert client.simulate_get("/users", params={"email": user["email"]}).json == [user]
    assert client.simulate_get("/users", params={"email": "nobody@example.com"}).json == []
    later = client.simulate_get("/users", params={"email": user["email"], "after": owner})
    assert later.json == []
    assert ids(client.simulate_get("/users")) == [owner, stranger]


@pytest.mark.parametrize("email", ["", "ada", "a@b@c", "a b@c", "a@\x00", "x" * 300 + "@x.de"])
def test_an_invalid_address_finds_no_user(client: TestClient, email: str) -> None:
    answer = client.simulate_get("/users", params={"email": email})

    assert refusal(answer) == (422, "invalid", {"email": "invalid_parameter"})
