"""No input causes a 500, and a rejected request changes nothing."""

import json
import re
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
import sqlalchemy as sa
from falcon.testing import Result, TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .examples import examples
from .resources import refusal
from .tables import add_certificates, add_users, dump

pytestmark = pytest.mark.one_backend

FIELDS = ["name", "email", "password", "private_key", "body", "active", "notify", "unknown", ""]
ROUTES = [
    ("POST", "/users"),
    ("PATCH", "/users/{user}"),
    ("POST", "/users/{user}/certificates"),
    ("PATCH", "/users/{user}/certificates/{certificate}/active"),
]
inputs = settings(
    max_examples=examples(15),
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.text(max_size=30) | st.sampled_from(
    ["ada@example.com", "QQ==", "\x00", "\ufeff", "\u2028", "ẞ@İ", "a@b\n", "x" * 300, "true"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**998, max_value=10**1000)
    | st.floats()
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=6)


@pytest.fixture(params=ROUTES, ids=[" ".join(route) for route in ROUTES])
def writing(request: pytest.FixtureRequest, engine: sa.Engine) -> tuple[str, str]:
    """A method and a path that take a body."""
    (owner,) = add_users(engine, 1)
    (certificate,) = add_certificates(engine, owner, 1)
    method, path = request.param
    return method, path.format(user=owner, certificate=certificate)


def judge(answer: Result, engine: sa.Engine, before: dict[str, Any]) -> None:
    """The request succeeded, or was rejected with a problem and no change."""
    assert answer.headers["X-Request-Id"]
    if answer.status_code >= 400:
        status, _kind, findings = refusal(answer)
        assert status in {400, 404, 405, 406, 409, 412, 413, 415, 422}
        assert status != 422 or findings or "twice" in answer.json["detail"]
        assert dump(engine) == before
    else:
        assert answer.status_code in {200, 201, 202, 204, 304}


def send(client: TestClient, writing: tuple[str, str], body: bytes | str, **headers: str) -> Result:
    method, path = writing
    return client.simulate_request(
        method, path, body=body, headers={"Content-Type": "application/json", **headers}
    )


@inputs
@given(content=objects | values)
@example(content={"name": "\ud800", "email": "\udfff@b"})
@example(content={"\udc00": 1})
@example(content={"active": float("nan"), "notify": float("inf")})
@example(content={"name": "Ada", "email": "a@b", "password": "\x00"})
def test_any_json_as_a_body(
    client: TestClient, engine: sa.Engine, writing: tuple[str, str], content: Any
) -> None:
    before = dump(engine)

    judge(send(client, writing, json.dumps(content)), engine, before)


@pytest.mark.both_backends
@inputs
@given(content=objects)
def test_any_json_with_characters_as_they_are(
    client: TestClient, engine: sa.Engine, writing: tuple[str, str], content: Any
) -> None:
    """Lone surrogates are then sent as bytes that are not UTF-8."""
    before = dump(engine)
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")

    judge(send(client, writing, body), engine, before)


@inputs
@given(body=st.binary(max_size=200))
@example(body=b"\xef\xbb\xbf{}")
@example(body=b"{" * 100_000)
@example(body=b'{"name":' * 30_000)
@example(body=b"[" * 262_144)
@example(body=b"1" * 262_144)
@example(body=b'{"name":' + b"9" * 250_000 + b"}")
@example(body=b'{"name": "a", "name": 1, "name": "b"}')
@example(body=b'{"active": true, "active": 1}')
@example(body=b'"' + b"\\u0000" * 40_000 + b'"')
def test_any_bytes_as_a_body(
    client: TestClient, engine: sa.Engine, writing: tuple[str, str], body: bytes
) -> None:
    before = dump(engine)

    judge(send(client, writing, body), engine, before)


@inputs
@given(place=st.integers(0, 200), change=st.binary(max_size=3))
def test_valid_json_with_one_corrupted_place(
    client: TestClient, engine: sa.Engine, writing: tuple[str, str], place: int, change: bytes
) -> None:
    good = {
        "/users": {"name": "Ada", "email": "ada@example.com", "password": "\U0001f469"},
        "certificates": {"private_key": "QUJD", "body": "PEM", "active": True},
        "active": {"active": False, "notify": True},
    }
    before = dump(engine)
    body = json.dumps(good.get(writing[1].rpartition("/")[2], good["/users"])).encode()
    place %= len(body)

    judge(send(client, writing, body[:place] + change + body[place + 1 :]), engine, before)


@inputs
@given(text=st.text(st.sampled_from("QUJDA/+=-_ \n\r\x00é"), max_size=12))
def test_base64_is_accepted_in_any_usual_form(
    client: TestClient, engine: sa.Engine, text: str
) -> None:
    (owner,) = add_users(engine, 1)
    answer = client.simulate_post(
        f"/users/{owner}/certificates", json={"private_key": text, "body": "PEM"}
    )

    plain = "".join(text.split()).rstrip("=")
    if re.fullmatch("[A-Za-z0-9+/_-]+", plain) and len(plain) % 4 != 1:
        assert answer.status_code == 201
    else:
        assert refusal(answer) == (422, "invalid", {"private_key": "invalid_value"})


segments = st.text(max_size=10).map(lambda text: quote(text.encode("utf-8", "replace"), safe=""))
raw_segments = st.binary(max_size=10).map(quote_from_bytes)


@inputs
@given(
    method=st.sampled_from(["GET", "HEAD", "PATCH", "DELETE", "POST", "PUT", "OPTIONS"]),
    parts=st.lists(
        st.sampled_from(["users", "certificates", "active", "1", "0", "", ".."])
        | segments
        | raw_segments
        | st.integers().map(str),
        max_size=6,
    ),
)
def test_any_path(client: TestClient, engine: sa.Engine, method: str, parts: list[str]) -> None:
    before = dump(engine)
    answer = client.simulate_request(method, "/" + "/".join(parts))

    if method == "HEAD" or answer.status_code < 400:
        assert answer.status_code < 500
    else:
        judge(answer, engine, before)


@inputs
@given(
    names=st.lists(
        st.sampled_from(["active", "limit", "after", "email"]) | st.text(max_size=5), max_size=5
    ),
    data=st.data(),
)
def test_any_query(client: TestClient, engine: sa.Engine, names: list[str], data: Any) -> None:
    (owner,) = add_users(engine, 1)
    before = dump(engine)
    pieces = st.text(max_size=8).map(lambda text: quote(text.encode("utf-8", "replace")))
    raw = st.binary(max_size=8).map(quote_from_bytes) | st.sampled_from(
        ["%", "%zz", "%0", "&", "="]
    )
    value = pieces | raw | st.integers().map(str)
    query = "&".join(
        f"{quote(name.encode('utf-8', 'replace'))}={data.draw(value)}" for name in names
    )

    for path in ("/users", f"/users/{owner}/certificates", f"/users/{owner}", "/livez"):
        judge(client.simulate_get(path, query_string=query), engine, before)


header_values = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)


@inputs
@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["If-Match", "If-None-Match", "Accept", "X-Request-Id", "Cookie", "Range", "Expect"]
        )
        | st.just("Idempotency-Key"),
        header_values
        | st.sampled_from(["*", '"', '"*"', "W/", 'W/"', ",", '"a", "b', "a/b;q=", "*/*;q=1e9"]),
    )
)
def test_any_headers(client: TestClient, engine: sa.Engine, headers: dict[str, str]) -> None:
    (owner,) = add_users(engine, 1)
    (certificate,) = add_certificates(engine, owner, 1)
    path = f"/users/{owner}/certificates"

    for method, target, body in (
        ("GET", path, None),
        ("GET", "/users", None),
        ("PATCH", f"{path}/{certificate}/active", {"active": True}),
        ("DELETE", f"{path}/{certificate}", None),
    ):
        before = dump(engine)
        answer = client.simulate_request(method, target, json=body, headers=headers)
        judge(answer, engine, before)


@inputs
@given(content_type=header_values)
def test_any_content_type(client: TestClient, engine: sa.Engine, content_type: str) -> None:
    before = dump(engine)
    answer = client.simulate_post("/users", body="{}", headers={"Content-Type": content_type})

    assert refusal(answer)[0] in (400, 415)
    assert dump(engine) == before
