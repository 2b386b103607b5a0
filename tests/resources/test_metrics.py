import platform
from collections import Counter

import pytest
from falcon.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families

from customer_certificates import __version__
from customer_certificates.errors import Finding
from customer_certificates.gateways.metrics import Metrics

from ..factories import a_user, an_upload
from ..service import Service

pytestmark = pytest.mark.one_backend

Samples = Counter[tuple[str, frozenset[tuple[str, str]]]]


def samples(text: str) -> Samples:
    return Counter(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def of(found: Samples, name: str, **labels: str) -> int:
    return found[name, frozenset(labels.items())]


def requests(found: Samples, method: str, route: str, status: int) -> int:
    return of(
        found,
        "customer_certificates_http_requests_total",
        method=method,
        route=route,
        status=str(status),
    )


def ask(client: TestClient) -> Samples:
    answer = client.simulate_get("/metrics", headers={"Accept": "text/plain"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return samples(answer.text)


def test_all_metrics_have_one_prefix_and_the_version_is_one_of_them(client: TestClient) -> None:
    found = ask(client)
    version = {"version": __version__, "python_version": platform.python_version()}

    assert of(found, "customer_certificates_build_info", **version) == 1
    assert {name for name, _ in found if not name.startswith("customer_certificates_")} == set()


def test_requests_are_counted_by_route_and_status(client: TestClient) -> None:
    before = ask(client)
    user = client.simulate_post("/users", json=a_user()).headers["Location"]
    for _ in range(3):
        client.simulate_get(user)
    client.simulate_get(f"{user}/")
    client.simulate_get("/users/9223372036854775807")
    client.simulate_get("/users/zero")
    client.simulate_get(f"{user}/certificates")
    client.simulate_get("/livez", remote_addr="8.8.8.8")
    more = ask(client)
    more.subtract(before)

    assert requests(more, "POST", "/users", 201) == 1
    assert requests(more, "GET", "/users/{user_id}", 200) == 4
    assert requests(more, "GET", "/users/{user_id}", 404) == 1
    assert requests(more, "GET", "none", 404) == 1
    assert requests(more, "GET", "/users/{user_id}/certificates", 200) == 1
    assert requests(more, "GET", "none", 403) == 1
    durations = "customer_certificates_http_request_duration_seconds"
    counted = of(more, f"{durations}_count", method="GET", route="/users/{user_id}")
    in_buckets = of(more, f"{durations}_bucket", method="GET", route="/users/{user_id}", le="+Inf")
    assert counted == in_buckets == 5


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_what_clients_invent_makes_no_new_series(client: TestClient) -> None:
    client.simulate_get("/nothing")
    client.simulate_request("FOO", "/users")
    before = ask(client)
    for number in range(20):
        client.simulate_get(f"/nothing/{number}", query_string=f"x={number}")
        client.simulate_get(f"/nothing{number}")
        client.simulate_request(f"FOO{number}", "/users")

    assert ask(client).keys() - before.keys() <= {
        ("customer_certificates_http_requests_total", frozenset(labels.items()))
        for labels in ({"method": "GET", "route": "/metrics", "status": "200"},)
    }
    assert requests(ask(client), "other", "/users", 400) >= 21


@pytest.mark.both_backends
def test_pages_are_counted_by_where_they_were_found(client: TestClient, owner: int) -> None:
    path = f"/users/{owner}/certificates"
    client.simulate_post(path, json=an_upload())
    before = ask(client)
    for _ in range(3):
        client.simulate_get(path)
    more = ask(client)
    more.subtract(before)

    assert of(more, "customer_certificates_cache_pages_total", tier="database") == 1
    assert of(more, "customer_certificates_cache_pages_total", tier="process") == 2
    assert of(more, "customer_certificates_cache_pages_total", tier="redis") == 0


def test_what_is_in_use_is_told(client: TestClient, owner: int) -> None:
    client.simulate_get(f"/users/{owner}")
    now = ask(client)

    assert of(now, "customer_certificates_password_hashing") == 0
    assert of(now, "customer_certificates_database_connections", use="transaction") == 0
    assert of(now, "customer_certificates_database_connections", use="read") >= 1


def test_a_quota_that_rejects_a_request_is_counted(client: TestClient, owner: int) -> None:
    quotas, path = f"/users/{owner}/quotas", f"/users/{owner}/certificates"
    assert client.simulate_put(quotas, json={"certificates": 0}).status_code == 200
    before = ask(client)
    for _ in range(2):
        assert client.simulate_post(path, json=an_upload()).status_code == 409
    more = ask(client)
    more.subtract(before)

    assert of(more, "customer_certificates_quota_refusals_total", quota="certificates") == 2


def test_findings_of_uploads_are_counted_by_code(client: TestClient, owner: int) -> None:
    path, check = f"/users/{owner}/certificates", f"/users/{owner}/certificates/check"
    upload = an_upload()
    wrong = {**upload, "private_key": an_upload("other.example.com")["private_key"]}
    before = ask(client)
    client.simulate_post(path, json=wrong)
    client.simulate_post(check, json=wrong)
    client.simulate_post(path, json=upload)
    more = ask(client)
    more.subtract(before)

    counter = "customer_certificates_upload_findings_total"
    assert of(more, counter, code="key_mismatch", severity="error") == 1


def test_codes_that_no_check_has_make_few_series() -> None:
    """A sandbox process that an upload has taken over may return any text as a code."""
    metrics = Metrics(None)
    for number in range(1000):
        metrics.upload([Finding(f"code_{number}", "body", "", "")])

    found = samples(metrics.exposition().decode())
    series = {
        dict(labels)["code"]: value
        for (name, labels), value in found.items()
        if name == "customer_certificates_upload_findings_total"
    }
    assert len(series) <= 202
    assert sum(series.values()) == 1000


def test_counts_are_those_of_all_worker_processes(service: Service) -> None:
    route = "/users/{user_id}/certificates/{certificate_id}/active"

    def count() -> int:
        with service.client() as client:
            return requests(samples(client.get("/metrics").text), "PUT", route, 405)

    before = count()
    for _ in range(20):
        with service.client() as client:
            assert client.put("/users/1/certificates/1/active").status_code == 405

    assert len(service.workers()) == 2
    # Whichever worker answers.
    assert [count() - before for _ in range(6)] == [20] * 6
