from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import create_app
from customer_certificates.gateways.admission.token_buckets import TokenBuckets

from ..conftest import Backend
from ..resources import refusal

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def limited(backend: Backend) -> Iterator[TestClient]:
    """An application that allows each client four requests a second, in two worker processes."""
    app = create_app(
        backend.config(
            CC_RATE_LIMIT="4", CC_WORKERS="2", CC_ALLOWED_CLIENTS="10.1.2.0/24,2001:db8::/32"
        )
    )
    yield TestClient(app, headers={"Host": "localhost"})
    app.close()


def test_a_client_above_the_limit_is_rejected_and_others_are_not(limited: TestClient) -> None:
    answers = [limited.simulate_get("/livez", remote_addr="10.1.2.3") for _ in range(50)]
    refused = [answer for answer in answers if answer.status_code == 429]

    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    assert answers[0].headers["RateLimit-Policy"] == '"peer";q=4;w=2'
    assert answers[0].headers["RateLimit"] == '"peer";r=3;t=1'
    assert refused
    assert refusal(refused[0])[:2] == (429, "too-many-requests")
    assert refused[0].headers["Retry-After"] == "1"
    assert refused[0].headers["RateLimit"] == '"peer";r=0;t=3'
    assert limited.simulate_get("/livez", remote_addr="10.1.2.4").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/no-such-path"])
def test_an_ipv6_client_is_counted_by_its_network(limited: TestClient, path: str) -> None:
    """Both for requests that succeed and for those that fail."""

    def statuses(network: str) -> set[int]:
        return {
            limited.simulate_get(path, remote_addr=f"2001:db8:{network}::{host:x}").status_code
            for host in range(1, 50)
        }

    assert 429 in statuses("1")
    alone = limited.simulate_get(path, remote_addr="2001:db8:2::1").status_code
    assert alone in (200, 404)


def test_this_machine_has_no_limit_by_default(client: TestClient) -> None:
    answers = [client.simulate_get("/livez") for _ in range(3000)]

    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit" not in answers[0].headers


def test_a_bucket_fills_up_to_its_size() -> None:
    buckets = TokenBuckets(rate=2, size=4)

    assert [buckets.take("a", 0.0) for _ in range(5)] == [3, 2, 1, 0, -1]
    assert buckets.take("b", 0.0) == 3
    assert buckets.take("a", 0.5) == 0
    assert buckets.take("a", 0.5) == -1
    assert buckets.take("a", 1000.0) == 3


def test_only_the_buckets_used_last_are_kept() -> None:
    buckets = TokenBuckets(rate=1, size=2)
    for key in range(20_000):
        buckets.take(key, 0.0)

    assert buckets.take(19_999, 0.0) == 0
    assert buckets.take(0, 0.0) == 1


def test_a_client_that_guesses_tokens_is_rejected_before_authentication(
    backend: Backend, engine: sa.Engine
) -> None:
    app = create_app(backend.closed(CC_RATE_LIMIT="4", CC_WORKERS="2"))
    client = TestClient(app)
    wrong = {"Authorization": "Bearer ccert_user_1_wrong"}
    refused = [client.simulate_get("/users/1", headers=wrong) for _ in range(50)]
    after = client.simulate_get("/livez")
    elsewhere = client.simulate_get("/users/1", headers=wrong, remote_addr="10.1.2.3")
    nowhere = [
        client.simulate_get("/nothing", remote_addr="10.1.2.4").status_code for _ in range(50)
    ]
    app.close()

    assert [answer.status_code for answer in refused[:4]] == [401] * 4
    assert refused[0].headers["RateLimit-Policy"] == '"peer";q=4;w=2'
    assert refused[0].headers["RateLimit"] == '"peer";r=3;t=1'
    late = next(answer for answer in refused if answer.status_code == 429)
    assert refusal(late)[:2] == (429, "too-many-requests")
    assert late.headers["Retry-After"] == "1"
    assert late.headers["RateLimit"] == '"peer";r=0;t=3'
    assert after.status_code == 429
    assert elsewhere.status_code == 401
    assert set(nowhere) == {404, 429}
