"""Every error message, in one file to read as a whole: tests/messages.txt."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import Result, TestClient

import customer_certificates
from customer_certificates.app import description

pytestmark = pytest.mark.one_backend

FILE = Path(__file__).parents[1] / "messages.txt"
SOURCE = Path(customer_certificates.__file__).parent
LIBRARY_WORDS = ("Expected `", "matching regex", "truncated", "enum value", "$.", "JSON is malf")
VALUES: list[Any] = [None, True, 7, -1, 1.5, 10**30, "", "\x00", "no such value", [], {}]
VALUES += [["x" * 2000], [7], [{}], [{"x": 1}], "x" * 3000]
BODIES = ["", " ", "{", "[]", "7", '{"name": tru}', '{"a": 1} x', '{"a":' * 10_000, b'{"\xff": 1}']
BODIES += ['{"name": 1, "name": "a", "email": "a@b.example", "password": "x"}']
REFUSALS = {
    *("Malformed", "Invalid", "TooSlow", "TooLarge", "UnsupportedMediaType", "NotAcceptable"),
    *("Unauthenticated", "Forbidden", "NotFound", "Conflict", "PreconditionFailed"),
    *("TooManyRequests", "Unavailable", "HTTPError"),
}
OPERATIONS = [
    (method, path, operation)
    for path, methods in description()["paths"].items()
    for method, operation in methods.items()
    if method != "parameters"
]
SCHEMAS = description()["components"]["schemas"]


def test_the_messages_are_those_of_the_file(
    client: TestClient, closed: TestClient, owner: int, request: pytest.FixtureRequest
) -> None:
    text = "\n".join(
        [
            "# Made by: .venv/bin/python -m pytest tests/web/test_messages.py"
            " --write-messages -n 0",
            *("", "## Fields of bodies", *_of_fields(client, owner)),
            *("", "## Values that were sent", *_of_values(client)),
            *("", "## Query parameters", *_of_parameters(client, owner)),
            *("", "## Whole requests", *_of_requests(client, closed, owner)),
            *("", "## Sentences in the source", *sorted({*_in_source()})),
            "",
        ]
    )
    assert [word for word in LIBRARY_WORDS if word in text] == []
    if request.config.getoption("--write-messages"):
        FILE.write_text(text)
    assert FILE.read_text() == text


def _of_fields(client: TestClient, owner: int) -> Iterator[str]:
    for method, template, operation in OPERATIONS:
        if "requestBody" not in operation or _is_repeated(template):
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        path = _path(template, owner)
        lines: list[str] = []
        fields = SCHEMAS[schema["$ref"].rpartition("/")[2]]["properties"]
        for body in [{}, *({field: value} for field in fields for value in VALUES)]:
            answer = client.simulate_request(method.upper(), path, json=body)
            if answer.status_code in (400, 422):
                lines += [
                    line
                    for line in _findings(answer)
                    if not body or line.startswith((f"{next(iter(body))}:", "{"))
                ]
        yield from ("", f"{method.upper()} {template}", *_one_of_each(lines))


def _one_of_each(lines: list[str]) -> list[str]:
    """Yields the lines; of lines that differ only in the value that was sent, the first."""
    return [*{re.sub("; got .*", "", line): line for line in reversed(lines)}.values()][::-1]


def _of_values(client: TestClient) -> Iterator[str]:
    for value in VALUES:
        for name in ("name", "password"):
            body = {"name": "a", "email": "a@b.example", "password": "x", name: value}
            yield from _findings(client.simulate_post("/users", json=body))


def _of_parameters(client: TestClient, owner: int) -> Iterator[str]:
    for method, template, operation in OPERATIONS:
        parameters = [one for one in operation.get("parameters", ()) if one["in"] == "query"]
        if not parameters or _is_repeated(template):
            continue
        lines: list[str] = []
        path = _path(template, owner)
        for name in [one["name"] for one in parameters]:
            for query in (f"{name}=", f"{name}=x y", f"{name}=-1", f"{name}=1&{name}=2", ""):
                answer = client.simulate_request(method.upper(), path, query_string=query)
                if answer.status_code == 422:
                    lines += _findings(answer)
        if lines:
            yield from ("", f"{method.upper()} {template}", *_one_of_each(lines))


def _of_requests(client: TestClient, closed: TestClient, owner: int) -> Iterator[str]:
    json_type = {"Content-Type": "application/json"}
    requests: list[tuple[TestClient, str, str, dict[str, str], Any]] = [
        *((client, "POST", "/users", json_type, body) for body in BODIES),
        (client, "POST", "/users", {"Content-Type": "text/plain"}, "{}"),
        (client, "POST", "/users", {**json_type, "Content-Length": "9"}, "{}"),
        (client, "POST", "/users", json_type, " " * 300_000),
        (client, "POST", "/users", {**json_type, "Idempotency-Key": "é"}, "{}"),
        (client, "GET", "/users?limt=1", {}, None),
        (client, "GET", "/users", {"Accept": "text/html"}, None),
        (client, "GET", "/users", {"Host": "elsewhere.example"}, None),
        (client, "GET", "/users", {"Origin": "https://elsewhere.example"}, None),
        (client, "GET", "/nothing", {}, None),
        (client, "GET", f"/users/{2**63 - 1}", {}, None),
        (client, "GET", f"/users/{owner}/certificates/7", {}, None),
        (client, "PATCH", "/users", {}, None),
        (client, "PATCH", f"/users/{owner}", {**json_type, "If-Match": '"1"'}, "{}"),
        (client, "PATCH", f"/users/{owner}", {**json_type, "If-Match": "1"}, "{}"),
        (client, "POST", "/tokens", json_type, '{"name": "a", "scopes": ["certificates:read"]}'),
        (closed, "GET", "/users", {}, None),
        (closed, "GET", "/users", {"Authorization": "Bearer x"}, None),
        (closed, "GET", "/users", {"Authorization": "Basic x"}, None),
        (closed, "POST", "/tokens", {"Authorization": "Basic x"}, None),
        (closed, "POST", "/tokens", {}, None),
    ]
    for app, method, path, headers, body in requests:
        answer = app.simulate_request(method, path, headers=headers, body=body)
        sent = (
            f"{method} {re.sub(rf'/users/{owner}(?=/|$)', '/users/1', path)} {json.dumps(headers)}"
        )
        yield from ("", sent, *([repr(body)[:60]] if body else []))
        detail = answer.json["detail"].replace(f"User {owner} ", "User 1 ")
        yield f"{answer.status_code}: {detail}"
        yield from _findings(answer)


def _in_source() -> Iterator[str]:
    for path in SOURCE.rglob("*.py"):
        if "client" in path.parts or "cli" in path.parts:
            continue
        module = ast.parse(path.read_text())
        values = _assigned(module)
        for call in ast.walk(module):
            if isinstance(call, ast.Call) and _is_message(call.func):
                names = _names(call)
                # A detail may have a clause that has a name too.
                names += [
                    inner
                    for name in names
                    for value in values.get(name, ())
                    for inner in _names(value)
                ]
                parts = [*call.args, *(value for name in names for value in values.get(name, ()))]
                texts = [text for part in parts for text in _texts(part)]
                yield from (text for text in texts if " " in text.strip())


def _names(part: ast.AST) -> list[str]:
    return [inner.id for inner in ast.walk(part) if isinstance(inner, ast.Name)]


def _assigned(module: ast.Module) -> dict[str, list[ast.expr]]:
    """Returns the values that the module assigns to each name."""
    values: dict[str, list[ast.expr]] = {}
    for part in ast.walk(module):
        if isinstance(part, ast.Assign):
            for target in part.targets:
                if isinstance(target, ast.Name):
                    values.setdefault(target.id, []).append(part.value)
    return values


def _is_message(called: ast.expr) -> bool:
    name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
    return name in REFUSALS or "finding" in name.lower()


def _texts(part: ast.AST) -> Iterator[str]:
    if isinstance(part, (ast.JoinedStr, ast.Constant)):
        yield _text(part)
    else:
        for inner in ast.iter_child_nodes(part):
            yield from _texts(inner)


def _text(part: ast.expr | ast.AST) -> str:
    """Returns a sentence with … in place of values."""
    if isinstance(part, ast.JoinedStr):
        return "".join(_text(one) or "…" for one in part.values)
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""


def _findings(answer: Result) -> list[str]:
    return [
        f"{one['field']}: {one['detail']} {one['hint']}" for one in answer.json.get("errors", ())
    ]


def _is_repeated(template: str) -> bool:
    """Returns whether operators have the same endpoint."""
    return template.startswith(("/webhooks", "/audit"))


def _path(template: str, owner: int) -> str:
    path = template.replace("{user_id}", str(owner)).replace("{hostname}", "www.example.com")
    return "/".join("7" if part.startswith("{") else part for part in path.split("/"))
