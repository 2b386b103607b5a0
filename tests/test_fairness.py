"""One tenant asks for more than there is, and another one is served as if it did not."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from . import hostile
from .conftest import Backend
from .credentials import bearer, make_token
from .factories import a_user, an_upload
from .service import Service
from .tables import add_users

pytestmark = pytest.mark.one_backend("sqlite")
_WAIT_SECONDS = 60
_CROWD = 48


@pytest.fixture
def closed_service(backend: Backend, engine: sa.Engine, folder: Path) -> Iterator[Service]:
    """One worker, with credentials, behind a proxy that says who its clients are."""
    settings = {
        **backend.settings,
        **backend.named(),
        "CC_ENV": "prd",
        "CC_UPLOAD_CHECKS": "report",
        "CC_HOSTNAME_PROOF": "preferred",
        "CC_BEHIND_PROXY": "127.0.0.1",
        "CC_REGISTRATION": "open",
        "CC_WORKERS": "1",
    }
    service = Service(settings, folder / "service-fair.log")
    yield service
    service.stop()


class Client:
    """A client that the proxy passes on."""

    def __init__(self, service: Service, address: str, **options: Any) -> None:
        self._service = service
        self._headers = {"X-Forwarded-For": address, "X-Forwarded-Proto": "https"}
        self._headers |= options.pop("headers", {})
        self._options = options

    def post(self, path: str, **sent: Any) -> httpx.Response:
        """Sends it on a connection of its own."""
        options = {"timeout": _WAIT_SECONDS, **self._options, "headers": self._headers}
        with self._service.client(**options) as client:
            return client.post(path, **sent)


def refused_beside(
    attack: Callable[[], httpx.Response], victim: Callable[[], httpx.Response]
) -> tuple[list[httpx.Response], list[httpx.Response]]:
    """Sends `attack` on many connections at once. As soon as one of them was refused, sends
    `victim` a few times. Returns the answers of both."""
    with ThreadPoolExecutor(_CROWD) as threads:
        attacks = [threads.submit(attack) for _ in range(_CROWD)]
        await_refusal(attacks)
        served = [victim() for _ in range(4)]
        return [one.result() for one in attacks], served


def await_refusal(attacks: list[Future[httpx.Response]]) -> None:
    rest = set(attacks)
    while rest:
        done, rest = wait(rest, _WAIT_SECONDS, FIRST_COMPLETED)
        if any(one.result().status_code == 429 for one in done):
            return
    pytest.fail("no request of the attack was refused")


def of_attack(answers: list[httpx.Response], success: int) -> None:
    """Each was carried out or refused for its own sake, and something was carried out."""
    statuses = [answer.status_code for answer in answers]
    assert {*statuses} == {success, 429}
    assert all(int(one.headers["Retry-After"]) >= 1 for one in answers if one.status_code == 429)


def test_costly_checks_of_one_user_hold_up_no_upload_of_another(
    closed_service: Service, engine: sa.Engine
) -> None:
    """All come from one address: the user counts."""
    attacker, victim = add_users(engine, 2)
    costly = base64.b64encode(hostile.pkcs12_file(10**6)).decode()
    by_attacker, by_victim = (
        Client(closed_service, "192.0.2.1", headers=bearer(make_token(engine, "user", user)))
        for user in (attacker, victim)
    )

    attacks, served = refused_beside(
        lambda: by_attacker.post(
            f"/users/{attacker}/certificates/check",
            json={"pkcs12": costly, "passphrase": "wrong"},
        ),
        lambda: by_victim.post(f"/users/{victim}/certificates", json=an_upload()),
    )

    assert [answer.status_code for answer in served] == [201] * 4
    of_attack(attacks, 200)


def test_registrations_from_one_network_hold_up_no_sign_in_from_another(
    closed_service: Service, engine: sa.Engine
) -> None:
    user, operator = a_user(), bearer(make_token(engine, "operator"))
    Client(closed_service, "192.0.2.1", headers=operator).post("/users", json=user)
    attacker = Client(closed_service, "2001:db8::1")
    victim = Client(closed_service, "198.51.100.1", auth=(user["email"], user["password"]))

    attacks, served = refused_beside(
        lambda: attacker.post("/users", json=a_user()),
        lambda: victim.post(
            "/tokens", json={"name": "for a test", "scopes": ["certificates:read"]}
        ),
    )

    assert [answer.status_code for answer in served] == [201] * 4
    of_attack(attacks, 201)
