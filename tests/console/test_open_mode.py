"""Pages of a customer without credentials, where the viewer is nobody in particular."""

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from ..owners import owner

__all__ = ["owner"]

pytestmark = pytest.mark.one_backend

SAME_SITE = {"Origin": "http://localhost:9000", "Sec-Fetch-Site": "same-origin"}


PAGES = ["hostnames", "hostnames/a.example", "webhooks", "tokens", "activity", "activity/audit"]


@pytest.mark.parametrize("path", [*PAGES, "tokens/new", "settings"])
def test_each_page_of_a_customer_is_shown(
    client: TestClient, engine: sa.Engine, owner: int, path: str
) -> None:
    shown = client.simulate_get(f"/console/users/{owner}/{path}")

    assert (shown.status_code, shown.headers["Cache-Control"]) == (200, "no-store")
    assert "Open mode" in shown.text


@pytest.mark.parametrize(
    "path", ["hostnames", "hostnames/a.example", "webhooks", "activity", "activity/audit"]
)
def test_a_user_who_does_not_exist_has_no_pages(client: TestClient, path: str) -> None:
    assert client.simulate_get(f"/console/users/999/{path}").status_code == 404


def test_no_tokens_are_needed(client: TestClient, owner: int) -> None:
    path = f"/console/users/{owner}/tokens"

    assert "No tokens are needed" in client.simulate_get(path).text
    refused = client.simulate_post(
        f"{path}/new",
        body="name=a&scopes=webhooks&expires_in_days=1",
        headers={**SAME_SITE, "Content-Type": "application/x-www-form-urlencoded"},
    )
    assert refused.status_code == 409
    assert "so it creates no tokens" in refused.text
