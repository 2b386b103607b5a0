from falcon.testing import Result, TestClient

from customer_certificates.app import create_app
from customer_certificates.config import Config

from ..conftest import Backend
from ..servers import free_port


def ask(config: Config, *paths: str) -> list[Result]:
    app = create_app(config)
    client = TestClient(app, headers={"Host": "localhost"})
    answers = [client.simulate_get(path) for path in paths]
    app.close()
    return answers


def test_all_is_well(client: TestClient, backend: Backend) -> None:
    answer = client.simulate_get("/healthcheck")

    assert (answer.status_code, answer.json) == (200, {"api": 1, "database": 1, "cache": 1})
    assert answer.headers["Cache-Control"] == "no-store"


def test_without_its_database_it_cannot_work(backend: Backend) -> None:
    gone = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    health, alive, user = ask(
        backend.config(CC_DATABASE_URL=gone), "/healthcheck", "/livez", "/users/1"
    )

    assert (health.status_code, health.json["api"], health.json["database"]) == (503, 1, 0)
    assert health.headers["Retry-After"]
    assert (alive.status_code, alive.json) == (200, {"api": 1})
    assert (user.status_code, user.headers["Retry-After"]) == (503, "1")


def test_without_its_cache_it_is_slower_not_broken(backend: Backend, owner: int) -> None:
    gone = f"redis://127.0.0.1:{free_port()}/0"
    health, alive, certificates = ask(
        backend.config(CC_CACHE_URL=gone), "/healthcheck", "/livez", f"/users/{owner}/certificates"
    )

    assert (health.status_code, health.json) == (200, {"api": 1, "database": 1, "cache": 0})
    assert alive.status_code == 200
    assert (certificates.status_code, certificates.json) == (200, [])


def test_alive(client: TestClient) -> None:
    answer = client.simulate_get("/livez")

    assert (answer.status_code, answer.json) == (200, {"api": 1})
    assert answer.headers["Cache-Control"] == "no-store"


def test_ready(client: TestClient) -> None:
    answer = client.simulate_get("/readyz")

    assert (answer.status_code, answer.json) == (200, {"api": 1, "database": 1})
    assert answer.headers["Cache-Control"] == "no-store"


def test_without_its_database_it_is_not_ready(backend: Backend) -> None:
    gone = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    (ready,) = ask(backend.config(CC_DATABASE_URL=gone), "/readyz")

    assert (ready.status_code, ready.json) == (503, {"api": 1, "database": 0})
    assert ready.headers["Retry-After"]


def test_while_it_drains_it_is_alive_and_not_ready(backend: Backend) -> None:
    app = create_app(backend.config())
    client = TestClient(app, headers={"Host": "localhost"})
    app.stop_waiting()
    ready, alive = client.simulate_get("/readyz"), client.simulate_get("/livez")
    app.close()

    assert (ready.status_code, ready.json) == (503, {"api": 0, "database": 1})
    assert alive.status_code == 200
