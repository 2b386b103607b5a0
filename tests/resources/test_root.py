"""GET /, and the page at /docs of a service that requires credentials."""

import pytest
from falcon.testing import TestClient

pytestmark = pytest.mark.one_backend

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_it_points_to_the_documentation(closed: TestClient) -> None:
    for accept in ("*/*", "application/json"):
        answer = closed.simulate_get("/", headers={"Accept": accept})
        assert answer.json == {
            "console": "/console",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "healthcheck": "/healthcheck",
        }
        assert answer.headers["Vary"] == "Accept"


def test_a_browser_gets_a_page_whose_links_work(closed: TestClient) -> None:
    answer = closed.simulate_get("/", headers={"Accept": BROWSER})

    assert answer.headers["Content-Type"].startswith("text/html")
    for path in ("/console", "/docs", "/openapi.json", "/healthcheck"):
        assert f'href="{path}"' in answer.text
        # The console asks to sign in first.
        status = closed.simulate_get(path).status_code
        assert status == (303 if path == "/console" else 200)


def test_the_documentation_needs_no_credentials_and_the_api_does(closed: TestClient) -> None:
    for path in ("/docs", "/docs/page.js", "/openapi.json"):
        assert closed.simulate_get(path, headers={"Accept": BROWSER}).status_code == 200
    schemes = closed.simulate_get("/openapi.json").json["components"]["securitySchemes"]
    assert schemes["token"]["scheme"] == "bearer"
    assert closed.simulate_get("/users").status_code == 401
