"""The page at /docs, and what it loads."""

import re
from importlib.resources import files

import pytest
from falcon.testing import TestClient

pytestmark = pytest.mark.one_backend

PAGE = files("customer_certificates.resources") / "docs_page"
TYPES = {
    "/docs": "text/html; charset=utf-8",
    "/docs/page.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/docs/favicon.png": "image/png",
    "/openapi.json": "application/json",
}


@pytest.mark.parametrize("path", TYPES)
def test_it_is_served_from_here(path: str, client: TestClient) -> None:
    answer = client.simulate_get(path)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, TYPES[path])
    assert answer.content


def test_the_page_names_nothing_else() -> None:
    index = (PAGE / "index.html").read_text()
    script = (PAGE / "page.js").read_text()

    named = set(
        re.findall(r'(?:src|href)="([^"]*)"', index) + re.findall(r'url: "([^"]*)"', script)
    )
    assert named == TYPES.keys() - {"/docs"}


def test_the_page_names_no_other_host() -> None:
    ours = (PAGE / "index.html").read_text() + (PAGE / "page.js").read_text()

    assert "//" not in re.sub(r"^\s*//.*", "", ours, flags=re.MULTILINE)
    assert "validatorUrl: null" in ours


def test_the_style_sheet_loads_nothing(client: TestClient) -> None:
    style = client.simulate_get("/docs/swagger-ui.css").text

    assert "@import" not in style
    assert set(re.findall(r"url\([\"']?(.{5})", style)) == {"data:"}


@pytest.mark.parametrize("path", [path for path in TYPES if path.startswith("/docs")])
def test_the_browser_is_told_to_load_nothing_from_elsewhere(path: str, client: TestClient) -> None:
    headers = client.simulate_get(path).headers

    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "//" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_has_no_script_of_its_own() -> None:
    """The policy would not run it."""
    index = (PAGE / "index.html").read_text()

    assert re.findall(r"<script[^>]*>(.*?)</script>", index) == ["", ""]


def test_a_browser_that_has_it_is_not_sent_it_again(client: TestClient) -> None:
    first = client.simulate_get("/docs/swagger-ui-bundle.js")

    again = client.simulate_get(
        "/docs/swagger-ui-bundle.js", headers={"If-None-Match": first.headers["ETag"]}
    )

    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "none.js", "..%2Fdocumentation.py"])
def test_nothing_else_is_served(name: str, client: TestClient) -> None:
    assert client.simulate_get(f"/docs/{name}").status_code == 404
