"""One tenant sends too many requests, and another one is served as usual.

With `--long` the attack goes on, and the other tenant's times are compared with those of a quiet
service.
"""

import base64
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, get_native_id
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from . import hostile
from .conftest import Backend
from .credentials import bearer, make_token
from .factories import a_user, an_upload
from .latencies import require_fair
from .resources import self_signed
from .service import Service
from .tables import add_users

pytestmark = pytest.mark.one_backend("sqlite")
_WAIT_SECONDS = 60
# More than may wait; with `--long` fewer, which go on and on.
_CROWD, _LONG_CROWD = 48, 8
# With `--long`: so many requests of the other tenant, and one in so many seconds. A sign-in takes a
# hash of a password, and waits for one of the attack's.
_PACED, _PACED_SIGN_INS = 100, 30
_PACE_SECONDS = 0.1

Ask = Callable[[], httpx.Response]


@pytest.fixture(scope="module")
def _closed_service(backend: Backend, folder: Path) -> Iterator[Service]:
    """One worker with authentication, behind a proxy that names its clients."""
    settings = {
        **backend.settings,
        **backend.named(),
        "CC_ENV": "prd",
        "CC_UPLOAD_CHECKS": "report",
        "CC_HOSTNAME_PROOF": "preferred",
        "CC_TRUSTED_PROXIES": "127.0.0.1",
        "CC_REGISTRATION": "open",
        "CC_WORKERS": "1",
    }
    service = Service(settings, folder / f"service-fair-{backend.name}.log")
    yield service
    service.stop()


@pytest.fixture
def closed_service(_closed_service: Service, engine: sa.Engine) -> Service:
    return _closed_service


class Client:
    """A client that the proxy passes on."""

    def __init__(self, service: Service, address: str, **options: Any) -> None:
        self._service = service
        self._headers = {"X-Forwarded-For": address, "X-Forwarded-Proto": "https"}
        self._headers |= options.pop("headers", {})
        self._options = options

    def send(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """Sends the request on a separate connection."""
        options = {"timeout": _WAIT_SECONDS, **self._options, "headers": self._headers}
        with self._service.client(**options) as client:
            return client.request(method, path, **sent)

    def post(self, path: str, **sent: Any) -> httpx.Response:
        return self.send("POST", path, **sent)


@pytest.fixture
def two_users(closed_service: Service, engine: sa.Engine) -> tuple[int, Client, int, Client]:
    """An attacker and a victim with the same address: the users count."""
    attacker, victim = add_users(engine, 2)
    by_attacker, by_victim = (
        Client(closed_service, "192.0.2.1", headers=bearer(make_token(engine, "user", user)))
        for user in (attacker, victim)
    )
    return attacker, by_attacker, victim, by_victim


class Crowd:
    """Sends `attack` on many connections at once; with `--long` again and again."""

    def __init__(self, attack: Ask, threads: ThreadPoolExecutor, *, is_long: bool) -> None:
        self._attack = attack
        self._stopping = Event()
        if not is_long:
            self._stopping.set()
        self._has_begun = Event()
        number = _LONG_CROWD if is_long else _CROWD
        self._senders = [threads.submit(self._send) for _ in range(number)]

    def _send(self) -> list[httpx.Response]:
        answers: list[httpx.Response] = []
        while not answers or not self._stopping.is_set():
            answers.append(self._attack())
            if answers[-1].status_code == 429 or len(answers) == 2:
                self._has_begun.set()
        return answers

    def await_begin(self) -> None:
        """Waits until a request is refused, since the tenant has everything that it may have; with
        `--long` until one was carried out and the next was sent."""
        assert self._has_begun.wait(_WAIT_SECONDS), "no request of the attack was refused"

    def stop(self) -> list[httpx.Response]:
        """Returns all answers."""
        self._stopping.set()
        return [answer for sender in self._senders for answer in sender.result()]


def served_beside(
    attack: Ask, victim: Ask, *, success: int, is_long: bool, number: int = _PACED
) -> list[int]:
    """The statuses of a victim's requests during an attack. Each request of the attack was carried
    out, with the status `success`, or refused for its own sake."""
    quiet = paced(victim, number) if is_long else []
    # Times are compared: clients of an attack, on other machines, would take no CPU time from them.
    initializer = _leave_the_cpu_to_others if is_long else None
    with ThreadPoolExecutor(_CROWD, initializer=initializer) as threads:
        crowd = Crowd(attack, threads, is_long=is_long)
        crowd.await_begin()
        loud = paced(victim, number) if is_long else [(0.0, victim()) for _ in range(4)]
        answers = crowd.stop()
    statuses = [answer.status_code for answer in answers]
    assert success in statuses
    assert {*statuses} <= {success, 429}
    assert all(int(one.headers["Retry-After"]) >= 1 for one in answers if one.status_code == 429)
    if is_long:
        print(f"{statuses.count(success)} requests of the attack were carried out")
        require_fair(*([seconds for seconds, _ in one] for one in (quiet, loud)))
    return [answer.status_code for _, answer in loud]


def _leave_the_cpu_to_others() -> None:
    os.setpriority(os.PRIO_PROCESS, get_native_id(), 19)


def paced(victim: Ask, number: int) -> list[tuple[float, httpx.Response]]:
    """Sends `number` requests at a usual rate, and returns their times and responses."""
    answers: list[tuple[float, httpx.Response]] = []
    pace = Event()
    for _ in range(number):
        before = time.monotonic()
        answer = victim()
        took = time.monotonic() - before
        answers.append((took, answer))
        pace.wait(max(0.0, _PACE_SECONDS - took))
    return answers


@pytest.fixture
def is_long(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("long"))


def test_costly_checks_of_one_user_delay_no_upload_of_another(
    two_users: tuple[int, Client, int, Client], is_long: bool
) -> None:
    attacker, by_attacker, victim, by_victim = two_users
    costly = base64.b64encode(hostile.pkcs12_file(10**6)).decode()

    served = served_beside(
        lambda: by_attacker.post(
            f"/users/{attacker}/certificates/check", json={"pkcs12": costly, "passphrase": "wrong"}
        ),
        lambda: by_victim.post(f"/users/{victim}/certificates", json=an_upload()),
        success=200,
        is_long=is_long,
    )

    assert {*served} == {201}


def test_uploads_of_many_hostnames_delay_nothing_of_another_user(
    closed_service: Service,
    engine: sa.Engine,
    two_users: tuple[int, Client, int, Client],
    is_long: bool,
) -> None:
    attacker, by_attacker, victim, by_victim = two_users
    operator = Client(closed_service, "192.0.2.1", headers=bearer(make_token(engine, "operator")))
    operator.send("PUT", f"/users/{attacker}/quotas", json={"hostnames": 10**6})
    large = self_signed(*(f"host-{number}.example.com" for number in range(1000)))
    path = f"/users/{victim}/certificates"

    def upload_and_list() -> httpx.Response:
        answer = by_victim.post(path, json=an_upload())
        return by_victim.send("GET", path) if answer.status_code == 201 else answer

    served = served_beside(
        lambda: by_attacker.post(f"/users/{attacker}/certificates", json=large),
        upload_and_list,
        success=201,
        is_long=is_long,
    )

    assert {*served} == {200}


@pytest.mark.parametrize("attacks", ["registrations", "sign-ins"])
def test_passwords_of_one_network_delay_no_sign_in_from_another(
    closed_service: Service, engine: sa.Engine, is_long: bool, attacks: str
) -> None:
    """Sign-ins have the right password."""
    users = [a_user(), a_user()]
    operator = Client(closed_service, "192.0.2.1", headers=bearer(make_token(engine, "operator")))
    for user in users:
        assert operator.post("/users", json=user).status_code == 201
    attacker, victim = (
        Client(closed_service, address, auth=(user["email"], user["password"]))
        for address, user in zip(("2001:db8::1", "198.51.100.1"), users, strict=True)
    )
    anonymous = Client(closed_service, "2001:db8::1")

    def sign_in(client: Client) -> httpx.Response:
        return client.post("/tokens", json={"name": "for a test", "scopes": ["certificates:read"]})

    served = served_beside(
        lambda: (
            anonymous.post("/users", json=a_user())
            if attacks == "registrations"
            else sign_in(attacker)
        ),
        lambda: sign_in(victim),
        success=201,
        is_long=is_long,
        number=_PACED_SIGN_INS,
    )

    assert {*served} == {201}
