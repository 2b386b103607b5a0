import json
import string
from typing import Any

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from ..factories import a_user, an_upload
from ..resources import PROBLEM, refusal
from ..tables import NOTHING, add_certificates, dump

pytestmark = pytest.mark.one_backend

NO_IDS = [
    "0",
    "01",
    "-1",
    "+1",
    str(2**63),
    str(2**64),
    "9" * 1000,
    "１",
    "٣",
    "1.0",
    "1e0",
    "0x1",
    "abc",
    "%00",
    "1%00",
    "1%0A",
    "%20",
    "1%20",
    "%FF%FE",
    "%ED%A0%80",
    "%zz",
    "..",
    "*",
    "null",
    "'",
]
ALLOWED = {
    "/users": {"GET", "HEAD", "POST"},
    "/users/{user}": {"GET", "HEAD", "PATCH", "DELETE"},
    "/users/{user}/certificates": {"GET", "HEAD", "POST"},
    "/users/{user}/certificates/check": {"POST"},
    "/users/{user}/certificates/{certificate}": {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
    "/users/{user}/certificates/{certificate}/active": {"PATCH"},
    "/users/{user}/certificates/{certificate}/versions": {"GET", "HEAD"},
    "/users/{user}/certificates/{certificate}/rollback": {"POST"},
    "/healthcheck": {"GET", "HEAD"},
    "/livez": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
    "/metrics": {"GET", "HEAD"},
    "/openapi.json": {"GET", "HEAD"},
    "/docs": {"GET", "HEAD"},
    "/": {"GET", "HEAD"},
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE")


@pytest.fixture
def certificate(engine: sa.Engine, owner: int) -> int:
    """The id of the owner's certificate."""
    return add_certificates(engine, owner, 1, active=False)[0]


@pytest.fixture(params=ALLOWED)
def template(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def route(template: str, owner: int, certificate: int) -> str:
    """Returns the path of an existing resource for `template`."""
    return template.format(user=owner, certificate=certificate)


def test_a_problem_in_whole(client: TestClient) -> None:
    answer = client.simulate_get("/users/7", headers={"X-Request-Id": "mine"})

    assert (answer.status_code, answer.json) == (
        404,
        {
            "type": f"{PROBLEM}not-found",
            "title": "Not Found",
            "status": 404,
            "detail": "User 7 does not exist.",
            "request_id": "mine",
        },
    )
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_problem_with_fields_in_whole(client: TestClient) -> None:
    answer = client.simulate_post("/users", json=a_user(name=7), headers={"X-Request-Id": "mine"})

    assert (answer.status_code, answer.json) == (
        422,
        {
            "type": f"{PROBLEM}invalid",
            "title": "Unprocessable Entity",
            "status": 422,
            "detail": "1 field is invalid.",
            "request_id": "mine",
            "errors": [
                {
                    "code": "wrong_type",
                    "field": "name",
                    "detail": "name must be a string of 1 to 200 characters, not blank, "
                    "without control characters; got the number 7.",
                    "hint": 'Example: {"name": "Ada Lovelace"}',
                    "severity": "error",
                }
            ],
        },
    )


def test_every_route_is_the_same_with_a_trailing_slash(
    client: TestClient, engine: sa.Engine, route: str
) -> None:
    """Errors too: each method of the route is called with and without the slash."""
    for method in METHODS:
        if method == "DELETE":
            continue
        plain, slash = (
            client.simulate_request(method, path, headers={"X-Request-Id": "mine"})
            for path in (route, f"{route}/")
        )
        assert slash.status_code == plain.status_code
        assert slash.headers.get("ETag") == plain.headers.get("ETag")
        assert slash.headers.get("Allow") == plain.headers.get("Allow")
        if route != "/metrics":
            assert slash.text == plain.text


def test_writes_have_trailing_slashes_too(client: TestClient) -> None:
    user = client.simulate_post("/users/", json=a_user()).headers["Location"]
    assert client.simulate_patch(f"{user}/", json={"name": "Ada"}).json["name"] == "Ada"
    uploaded = client.simulate_post(f"{user}/certificates/", json=an_upload())
    certificate = uploaded.headers["Location"]
    activated = client.simulate_patch(f"{certificate}/active/", json={"active": True})
    assert activated.status_code == 202
    assert client.simulate_delete(f"{certificate}/").status_code == 204
    assert client.simulate_delete(f"{user}/").status_code == 204


def test_other_methods_are_rejected_with_the_allowed_ones(
    client: TestClient, engine: sa.Engine, template: str, route: str
) -> None:
    before = dump(engine)
    for method in METHODS:
        if method in ALLOWED[template]:
            continue
        answer = client.simulate_request(method, route)
        assert answer.status_code == 405
        if method != "HEAD":
            assert refusal(answer) == (405, "method-not-allowed", {})
        assert set(answer.headers["Allow"].split(", ")) - {"OPTIONS"} == ALLOWED[template]
    assert dump(engine) == before


def test_options_lists_the_methods(client: TestClient, template: str, route: str) -> None:
    answer = client.simulate_options(route)

    assert answer.status_code == 200
    assert set(answer.headers["Allow"].split(", ")) - {"OPTIONS"} == ALLOWED[template]


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@pytest.mark.parametrize(
    "method", ["FOO", "get", "WEBSOCKET", "A" * 1000, "!#$%&'*+-.^_`|~", "PROPFIND"]
)
def test_methods_that_nobody_knows_are_refused(client: TestClient, method: str) -> None:
    answer = client.simulate_request(method, "/users")

    status, _kind, _errors = refusal(answer)
    assert status in (400, 405)
    assert answer.headers["X-Request-Id"]


def test_head_is_get_without_a_body(client: TestClient, template: str, route: str) -> None:
    if "HEAD" not in ALLOWED[template] or template == "/metrics":
        route = "/users/9223372036854775807"
    head, get = (
        client.simulate_request(method, route, headers={"X-Request-Id": "mine"})
        for method in ("HEAD", "GET")
    )

    assert head.content == b""
    assert head.status_code == get.status_code
    assert dict(head.headers) == dict(get.headers)


@pytest.mark.parametrize(
    "path", ["/nothing", "/user", "/users/1/nothing", "/%00", "/é", "/docs/nothing.js"]
)
def test_an_unknown_path_is_a_404(client: TestClient, path: str) -> None:
    answer = client.simulate_get(path)

    status, kind, findings = refusal(answer)
    assert (status, findings) == (404, {})
    assert kind in ("not-found", "route-not-found")


@pytest.mark.parametrize("no_id", NO_IDS)
def test_an_invalid_id_is_a_404(
    client: TestClient, engine: sa.Engine, owner: int, no_id: str
) -> None:
    before = dump(engine)
    user, certificate = f"/users/{no_id}", f"/users/{owner}/certificates/{no_id}"

    for method, path, body in (
        ("GET", user, None),
        ("PATCH", user, {"name": "Ada"}),
        ("DELETE", user, None),
        ("GET", f"{user}/certificates", None),
        ("POST", f"{user}/certificates", an_upload()),
        ("GET", f"{user}/certificates/1", None),
        ("GET", certificate, None),
        ("DELETE", certificate, None),
        ("PATCH", f"{certificate}/active", {"active": True}),
        ("PUT", certificate, an_upload()),
        ("PATCH", certificate, {"labels": {}}),
        ("GET", f"{certificate}/versions", None),
        ("POST", f"{certificate}/rollback", {"version": 1}),
        ("POST", f"{user}/certificates/check", an_upload()),
    ):
        assert refusal(client.simulate_request(method, path, json=body)) == (404, "not-found", {})
    assert dump(engine) == before


@pytest.mark.parametrize("spelling", ["0{}", "+{}", "{}.0", "%20{}", "{}%20", "{}%00", "{}%0A"])
def test_an_id_is_written_in_one_way_only(
    client: TestClient, owner: int, certificate: int, spelling: str
) -> None:
    """The same number in its valid form would exist."""
    user = f"/users/{spelling.format(owner)}"
    for path in (
        user,
        f"{user}/certificates",
        f"/users/{owner}/certificates/{spelling.format(certificate)}",
    ):
        assert refusal(client.simulate_get(path)) == (404, "not-found", {})
    full_width = str(owner).translate({48 + digit: 0xFF10 + digit for digit in range(10)})
    assert refusal(client.simulate_get(f"/users/{full_width}")) == (404, "not-found", {})


def test_the_largest_id_is_an_id(client: TestClient, owner: int) -> None:
    for path in (f"/users/{2**63 - 1}", f"/users/{owner}/certificates/{2**63 - 1}"):
        for method in ("GET", "DELETE"):
            answer = client.simulate_request(method, path)
            assert refusal(answer) == (404, "not-found", {})


@pytest.mark.parametrize(
    "request_id", ["a", "0", "5f0c2a9be1d34478", "a.b_c:d/e+f=g-h", "x" * 128, string.digits * 12]
)
def test_a_sane_request_id_is_kept(client: TestClient, request_id: str) -> None:
    for path in ("/livez", "/users/9", "/nothing"):
        answer = client.simulate_get(path, headers={"X-Request-Id": request_id})
        assert answer.headers["X-Request-Id"] == request_id


@pytest.mark.parametrize(
    "request_id",
    ["", " ", "a b", "a\tb", "é", "\x7f", "x" * 129, '"a"', "a,b", "<script>", "{}", "a;b", "a\\b"],
)
def test_any_other_request_id_is_replaced(client: TestClient, request_id: str) -> None:
    first, second = (
        client.simulate_get("/livez", headers={"X-Request-Id": request_id}) for _ in range(2)
    )

    ids = {answer.headers["X-Request-Id"] for answer in (first, second)}
    assert len(ids) == 2
    assert request_id not in ids
    assert all(ids)


def test_every_answer_has_a_request_id_of_its_own(client: TestClient) -> None:
    paths = ["/livez", "/users", "/nothing", "/users/x", "/metrics", "/docs"]
    answers = [client.simulate_get(path) for path in paths]
    answers += [client.simulate_put("/users"), client.simulate_post("/users")]
    answers.append(client.simulate_get("/livez", remote_addr="8.8.8.8"))

    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)


NO_TEXTS: list[Any] = [None, 1, 1.5, True, [], {}, ["text"], {"a": 1}]
NO_FLAGS: list[Any] = [None, 1, 0, 1.0, "true", "", [], {}]
GOOD_USER = {"name": "Ada", "email": "ada@example.com", "password": "x"}
GOOD_UPLOAD = {"private_key": "QQ==", "body": "PEM"}
NO_OBJECTS = ["null", "true", "1", '"text"', "[]", '[{"name": "Ada"}]', "[[]]"]
NO_JSON = [
    "",
    " ",
    "{",
    "}",
    "nul",
    "{'name': 1}",
    '{"name": "Ada",}',
    '{"name": NaN}',
    '{"name": Infinity}',
    '{"name": -Infinity}',
    '{"name": 01}',
    '{"name": .5}',
    '{"name": "a\nb"}',
    '{"name": "\\x41"}',
    '{"name": "\\ud800"}',
    '{"name": "\\udc00\\ud800"}',
    '{"\\ud800": 1}',
    '{"name": "Ada"} {}',
    '{"name": "Ada"}\x00',
    "\ufeff" + json.dumps(GOOD_USER),
    "// comment\n{}",
    "name=Ada&email=ada%40example.com",
    "<user/>",
]
NO_UTF8 = [b"\xff\xfe", b'{"name": "\xff"}', b'{"\xff": 1}', b'{"name": "\xed\xa0\x80"}', b"\xc3"]
TEXTS_OF_OTHER_ENCODINGS = [
    json.dumps(GOOD_USER).encode(encoding) for encoding in ("utf-16", "utf-32", "utf-8-sig")
]


@pytest.fixture(
    params=["register", "change", "upload", "check", "replace", "activate", "roll back"]
)
def writing(request: pytest.FixtureRequest, owner: int, certificate: int) -> tuple[str, str]:
    """A method and a path that take a body."""
    return {
        "register": ("POST", "/users"),
        "change": ("PATCH", f"/users/{owner}"),
        "upload": ("POST", f"/users/{owner}/certificates"),
        "check": ("POST", f"/users/{owner}/certificates/check"),
        "replace": ("PUT", f"/users/{owner}/certificates/{certificate}"),
        "activate": ("PATCH", f"/users/{owner}/certificates/{certificate}/active"),
        "roll back": ("POST", f"/users/{owner}/certificates/{certificate}/rollback"),
    }[request.param]


def send(client: TestClient, writing: tuple[str, str], body: bytes | str) -> Any:
    method, path = writing
    return client.simulate_request(
        method, path, body=body, headers={"Content-Type": "application/json"}
    )


def test_a_body_that_is_no_json_object_is_a_400(
    client: TestClient, engine: sa.Engine, writing: tuple[str, str]
) -> None:
    before = dump(engine)
    bodies: list[bytes | str] = [*NO_OBJECTS, *NO_JSON, *NO_UTF8, *TEXTS_OF_OTHER_ENCODINGS]
    for body in bodies:
        assert (body, refusal(send(client, writing, body))) == (body, (400, "malformed", {}))
    assert dump(engine) == before


@pytest.mark.parametrize("start", ["[", '{"a":', '{"name":[', "[{", '{"name":{"a":'])
def test_deep_nesting_is_a_400(
    client: TestClient, engine: sa.Engine, writing: tuple[str, str], start: str
) -> None:
    before = dump(engine)
    ends = {"[": "]", "{": "}"}
    end = "".join(ends[c] for c in reversed(start) if c in ends)
    for body in (start * 10_000, start * 10_000 + "1" + end * 10_000):
        status, kind, _ = refusal(send(client, writing, body))
        assert (status, kind) == (400, "malformed")
    assert dump(engine) == before


@pytest.mark.parametrize(
    "number", ["1" * 1000, "-" + "1" * 5000, "1e999", "-1e999999999", "0." + "1" * 5000, "1e-9999"]
)
def test_an_absurd_number_is_a_value_like_others(
    client: TestClient, engine: sa.Engine, owner: int, number: str
) -> None:
    before = dump(engine)
    fields = ", ".join(f'"{name}": {number}' for name in GOOD_USER)

    status, kind, findings = refusal(send(client, ("POST", "/users"), f"{{{fields}}}"))
    assert (status, kind, findings.keys()) == (422, "invalid", GOOD_USER.keys())
    unknown = f'{{"unknown": {number}}}'
    assert refusal(send(client, ("PATCH", f"/users/{owner}"), unknown)) == (
        422,
        "invalid",
        {"unknown": "unknown_field"},
    )
    assert dump(engine) == before


@pytest.mark.parametrize(
    ("method", "path", "good", "missing"),
    [
        ("POST", "/users", GOOD_USER, ["name"]),
        ("POST", "/users", GOOD_USER, ["email", "password"]),
        ("POST", "/users", GOOD_USER, ["name", "email", "password"]),
        ("POST", "/users/{user}/certificates", GOOD_UPLOAD, ["private_key"]),
        ("POST", "/users/{user}/certificates", GOOD_UPLOAD, ["body"]),
        ("POST", "/users/{user}/certificates", GOOD_UPLOAD, ["private_key", "body"]),
        ("POST", "/users/{user}/certificates/check", GOOD_UPLOAD, ["body"]),
        ("PUT", "/users/{user}/certificates/{certificate}", GOOD_UPLOAD, ["private_key"]),
        ("PATCH", "/users/{user}/certificates/{certificate}/active", {"active": True}, ["active"]),
        ("POST", "/users/{user}/certificates/{certificate}/rollback", {"version": 1}, ["version"]),
    ],
)
def test_a_missing_field_is_a_400_whatever_else_is_wrong(
    client: TestClient,
    engine: sa.Engine,
    owner: int,
    certificate: int,
    method: str,
    path: str,
    good: dict[str, Any],
    missing: list[str],
) -> None:
    path = path.format(user=owner, certificate=certificate)
    before = dump(engine)
    left = {name: value for name, value in good.items() if name not in missing}
    required = dict.fromkeys(missing, "required")
    wrong = dict.fromkeys(left, "wrong_type")

    assert refusal(client.simulate_request(method, path, json=left)) == (400, "malformed", required)
    assert refusal(
        client.simulate_request(method, path, json={**dict.fromkeys(left), "unknown": 1})
    ) == (400, "malformed", {**required, **wrong, "unknown": "unknown_field"})
    assert dump(engine) == before


def test_a_flood_of_unknown_fields_is_not_answered_in_full(client: TestClient) -> None:
    flood = {f"{number:x}": 1 for number in range(20_000)}

    answer = client.simulate_post("/users", json={**GOOD_USER, **flood})

    assert answer.status_code == 422
    assert len(answer.content) < 40_000
    assert "19900 more" in answer.json["errors"][-1]["detail"]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        *(("name", value, "wrong_type") for value in NO_TEXTS),
        *(("email", value, "wrong_type") for value in NO_TEXTS),
        *(("password", value, "wrong_type") for value in NO_TEXTS),
        *(
            ("name", value, "invalid_value")
            for value in (
                "",
                "   ",
                "\u2003",
                "x" * 201,
                "\x00",
                "a\x00b",
                "a\nb",
                "Ada\n",
                "\x7f",
                "\x1b[31m",
            )
        ),
        *(
            ("email", value, "invalid_value")
            for value in (
                "",
                "ada",
                "@",
                "a@",
                "@b",
                "a@b@c",
                "a b@c",
                "a@b\n",
                "a@b\x00",
                "\x00@b",
                "a@b\u2028",
                "a@b\u00a0",
                "a;b@c",
                "x@y.com,zzz",
                "a@b;c",
                "<a@b>",
                "a@b.c>",
                '"a b"@c',
                ".a@b",
                "a..b@c",
                "a@-b",
                "a@b-.c",
                "a@b_c",
                "a@[127.0.0.1]",
                "a\u202e@b",
                "x" * 250 + "@x.de",
            )
        ),
        *(("password", value, "invalid_value") for value in ("", "x" * 1025)),
    ],
)
def test_a_wrong_value_of_a_user_is_a_422(
    client: TestClient, engine: sa.Engine, owner: int, field: str, value: Any, code: str
) -> None:
    before = dump(engine)
    expected = (422, "invalid", {field: code})

    assert refusal(client.simulate_post("/users", json={**GOOD_USER, field: value})) == expected
    assert refusal(client.simulate_patch(f"/users/{owner}", json={field: value})) == expected
    assert dump(engine) == before


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        *(("private_key", value, "wrong_type") for value in NO_TEXTS),
        *(("body", value, "wrong_type") for value in NO_TEXTS),
        *(("active", value, "wrong_type") for value in NO_FLAGS),
        *(("body", value, "invalid_value") for value in ("", "\x00", "PEM\x00", "\x00PEM\n")),
        *(
            ("private_key", value, "invalid_value")
            for value in (
                "",
                "Q",
                "=",
                "====",
                "=QQ=",
                "QQ==QQ==",
                "QUJDR",
                "QQ==!",
                "QQ\x00=",
                "é",
                "QQQé",
                "ＱＱ==",
                "data:;base64,QQ==",
            )
        ),
    ],
)
def test_a_wrong_value_of_a_certificate_is_a_422(
    client: TestClient, engine: sa.Engine, owner: int, field: str, value: Any, code: str
) -> None:
    before = dump(engine)
    answer = client.simulate_post(
        f"/users/{owner}/certificates", json={**GOOD_UPLOAD, field: value}
    )

    assert refusal(answer) == (422, "invalid", {field: code})
    assert dump(engine) == before


@pytest.mark.parametrize("field", ["active", "notify"])
@pytest.mark.parametrize("value", NO_FLAGS)
def test_a_wrong_value_of_an_activation_is_a_422(
    client: TestClient, engine: sa.Engine, owner: int, certificate: int, field: str, value: Any
) -> None:
    before = dump(engine)
    path = f"/users/{owner}/certificates/{certificate}/active"
    answer = client.simulate_patch(path, json={"active": True, field: value})

    assert refusal(answer) == (422, "invalid", {field: "wrong_type"})
    assert dump(engine) == before


@pytest.mark.parametrize("field", ["id", "Name", "name ", "", "\x00", "é", "x" * 5000, "__proto__"])
def test_an_unknown_field_is_a_422(
    client: TestClient, engine: sa.Engine, writing: tuple[str, str], field: str
) -> None:
    before = dump(engine)
    bodies: dict[str, dict[str, Any]] = {
        "users": GOOD_USER,
        "certificates": GOOD_UPLOAD,
        "check": GOOD_UPLOAD,
        "active": {"active": True},
        "rollback": {"version": 1},
    }
    last = writing[1].rpartition("/")[2]
    known = GOOD_UPLOAD if writing[0] == "PUT" else bodies.get(last, {"name": "Ada"})
    answer = send(client, writing, json.dumps({**known, field: known}))

    assert refusal(answer) == (422, "invalid", {field[:100]: "unknown_field"})
    assert dump(engine) == before


def test_all_findings_come_at_once(client: TestClient, engine: sa.Engine) -> None:
    body = {"name": "", "email": 7, "password": None, "a": 1, "b": None}

    assert refusal(client.simulate_post("/users", json=body)) == (
        422,
        "invalid",
        {
            "name": "invalid_value",
            "email": "wrong_type",
            "password": "wrong_type",
            "a": "unknown_field",
            "b": "unknown_field",
        },
    )
    assert dump(engine) == NOTHING


def test_a_field_given_twice_leaves_no_doubt(client: TestClient, engine: sa.Engine) -> None:
    """The last of two valid values counts, as in most JSON parsers."""
    good = json.dumps(GOOD_USER)[1:]

    for first in ("1", "null", '"\\u0000"'):
        twice = send(client, ("POST", "/users"), f'{{"name": {first}, {good}')
        assert refusal(twice) == (422, "invalid", {})
        assert "twice" in twice.json["detail"]
    assert dump(engine) == NOTHING
    answer = send(client, ("POST", "/users"), f'{{"name": "Grace", {good}')
    assert client.simulate_get(answer.headers["Location"]).json["name"] == "Ada"


@pytest.mark.parametrize("excess", [1, 1000, 2**20])
def test_more_than_256_kib_is_a_413(
    client: TestClient, engine: sa.Engine, writing: tuple[str, str], excess: int
) -> None:
    before = dump(engine)
    answer = send(client, writing, b'{"name": "' + b"x" * (256 * 1024 + excess - 10))

    assert refusal(answer) == (413, "too-large", {})
    assert dump(engine) == before


def test_256_kib_are_not_too_large(client: TestClient, owner: int) -> None:
    body = json.dumps(an_upload())
    answer = send(
        client, ("POST", f"/users/{owner}/certificates"), body + " " * (256 * 1024 - len(body))
    )

    assert answer.status_code == 201


def test_a_truncated_body_is_a_400(client: TestClient, engine: sa.Engine) -> None:
    """Even if the received part is valid JSON."""
    good = json.dumps(GOOD_USER)
    for body in (good, good[:-1], good[:10], ""):
        answer = client.simulate_post(
            "/users",
            body=body,
            headers={"Content-Type": "application/json", "Content-Length": "1000"},
        )
        assert refusal(answer) == (400, "malformed", {})
    assert dump(engine) == NOTHING
