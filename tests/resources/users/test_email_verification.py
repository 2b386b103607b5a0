"""Nothing is mailed to an address before it is verified, and nobody is flooded with links."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from falcon.testing import Result, TestClient

from customer_certificates.app import create_app
from customer_certificates.gateways.database import EVERYBODY, Database
from customer_certificates.gateways.smtp import Mailer
from customer_certificates.models import EmailVerification, EmailVerificationLink, User
from customer_certificates.services.email.queue import Outgoing
from customer_certificates.services.email.verification_links import VerificationEmails
from customer_certificates.services.principal import Principal
from customer_certificates.services.users.address_verification import AddressVerification
from customer_certificates.setting_parsers import SmtpServer

from ...conftest import MAIL, Backend
from ...credentials import bearer, make_token
from ...factories import a_pair, a_user
from ...middleware.test_access_log import lines
from ...servers import free_port
from ...service import Service
from ...services.email.test_expiry_notices import Post
from ...tables import add_users, dump
from .. import refusal

pytestmark = pytest.mark.one_backend

URL = MAIL["CC_PUBLIC_URL"]
SENDER = Address("Certificates", "certificates", "service.example")
HOUR = timedelta(hours=1)
UNKNOWN = "/email-verifications/0123456789abcdef0123456789abcdef"


class Worker:
    """The worker's job, at any time, and a mail server."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = datetime.now(UTC)
        self.port = free_port()
        self.post = Post()

    def mails(
        self, mailer: type[Mailer] = Mailer, kind: type[VerificationEmails] = VerificationEmails
    ) -> VerificationEmails:
        server = SmtpServer("127.0.0.1", self.port, "none")
        made = mailer(server, SENDER, a_pair("mail.example").body.encode())
        return kind(self.database, made, URL, lambda: self.now)

    def send(self, kind: type[VerificationEmails] = VerificationEmails) -> list[str]:
        """Sends what is due; the paths of all links that have arrived so far."""
        controller = Controller(self.post, hostname="127.0.0.1", port=self.port)
        controller.start()
        try:
            # The application queued the email after this worker read its clock.
            self.now += timedelta(minutes=1)
            self.mails(kind=kind).run()
        finally:
            controller.stop()
        return [path_in(letter) for letter in self.post.letters]

    def link(self) -> str:
        """The path of the only link that has arrived after sending what is due."""
        (path,) = self.send()
        return path


def path_in(letter: EmailMessage) -> str:
    (path,) = re.findall(rf"^{URL}(/email-verifications/[0-9a-f]{{32}})\r?$", text_of(letter), re.M)
    return str(path)


def text_of(letter: EmailMessage) -> str:
    return str(letter.get_content())


@pytest.fixture
def worker(database: Database) -> Worker:
    return Worker(database)


@pytest.fixture
def operator(engine: sa.Engine) -> dict[str, str]:
    """The headers of an operator's request."""
    # The service records a use a moment later, unless it has recorded one within the minute.
    return bearer(make_token(engine, "operator", last_used_at=datetime.now(UTC)))


@pytest.fixture
def register(closed: TestClient, operator: dict[str, str]) -> Callable[..., str]:
    """Registers a user, and gives its path."""

    def registered(**changes: Any) -> str:
        answer = closed.simulate_post("/users", json=a_user(**changes), headers=operator)
        return str(answer.headers["Location"])

    return registered


@pytest.fixture
def is_verified(closed: TestClient, operator: dict[str, str]) -> Callable[[str], bool]:
    return lambda user: bool(closed.simulate_get(user, headers=operator).json["email_verified"])


@pytest.fixture(scope="module")
def _registering(backend: Backend) -> Iterator[TestClient]:
    app = create_app(backend.closed(CC_REGISTRATION="open", **MAIL))
    yield TestClient(app)
    app.close()


@pytest.fixture
def registering(_registering: TestClient, engine: sa.Engine) -> TestClient:
    """The application that lets anybody register."""
    return _registering


def queued(engine: sa.Engine) -> int:
    """How many verification mails wait."""
    with engine.connect() as connection:
        waiting = sa.select(sa.func.count()).where(EmailVerification.mail_due.is_not(None))
        return int(connection.execute(waiting).scalar_one())


def is_page(answer: Result) -> bool:
    """Whether it is a page that loads nothing, runs nothing, and is neither kept nor named."""
    headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert not re.search("<script|src=|href=|http", answer.text)
    return headers["Content-Type"].startswith("text/html")


def test_a_link_verifies_an_address(
    closed: TestClient,
    engine: sa.Engine,
    worker: Worker,
    operator: dict[str, str],
    register: Callable[..., str],
    is_verified: Callable[[str], bool],
) -> None:
    user = register(email="o'ada&co@example.com")
    link = worker.link()
    assert worker.post.recipients == ["o'ada&co@example.com"]
    before = dump(engine)

    # Scanners follow links, and follow them twice.
    shown = [closed.simulate_get(link), closed.simulate_head(link), closed.simulate_get(link)]
    assert [answer.status_code for answer in shown] == [200, 200, 200]
    assert is_page(shown[0])
    assert "o&#x27;ada&amp;co@example.com" in shown[0].text
    assert dump(engine) == before
    assert not is_verified(user)

    answer = closed.simulate_post(link)
    assert answer.status_code == 200
    assert is_page(answer)
    assert is_verified(user)
    again = [closed.simulate_get(link), closed.simulate_post(link)]
    assert [answer.status_code for answer in again] == [404, 404]
    assert is_page(again[0])

    entries = closed.simulate_get(f"{user}/audit", headers=operator).json
    assert [entry["action"] for entry in entries] == ["user.register", "user.verify_email"]
    assert entries[0]["detail"] == {"verification_mail": "queued"}
    assert (entries[1]["actor_kind"], entries[1]["detail"]) == (
        "anybody",
        {"by": "link", "verified": True},
    )
    events = closed.simulate_get(f"{user}/events", headers=operator).json
    assert [event["type"] for event in events] == ["user.email_verified"]


def test_a_token_is_stored_and_logged_nowhere(
    engine: sa.Engine, worker: Worker, register: Callable[..., str], service: Service
) -> None:
    register()
    token = worker.link().rpartition("/")[2]

    assert token not in str(dump(engine))
    with service.client() as client:
        path = f"/email-verifications/{token}"
        assert client.get(path, headers={"X-Request-Id": "link-1"}).status_code == 200
        assert client.post(path, headers={"X-Request-Id": "link-2"}).status_code == 200
    told = [lines(service.log, f"link-{number}")[0]["route"] for number in (1, 2)]
    assert told == ["/email-verifications/{verification_token}"] * 2
    assert token not in service.log.read_text()


@pytest.mark.parametrize("path", [UNKNOWN, "/email-verifications/%00%F0%9F%92%A9", UNKNOWN[:-1]])
def test_a_link_that_is_not_valid_says_so(closed: TestClient, path: str) -> None:
    for method in ("GET", "POST"):
        answer = closed.simulate_request(method, path)
        assert answer.status_code == 404
        assert is_page(answer)
        assert "This link is not valid" in answer.text


def test_a_link_expires_after_a_day(
    closed: TestClient,
    worker: Worker,
    register: Callable[..., str],
    is_verified: Callable[[str], bool],
    database: Database,
    engine: sa.Engine,
) -> None:
    user = register()
    worker.now -= 25 * HOUR
    with engine.begin() as connection:
        connection.execute(sa.update(EmailVerification).values(mail_due=worker.now))
    link = worker.link()

    assert closed.simulate_get(link).status_code == 404
    assert closed.simulate_post(link).status_code == 404
    assert not is_verified(user)
    worker.now += 49 * HOUR
    worker.mails().purge()
    with database.begin(EVERYBODY) as session:
        assert session.scalars(sa.select(EmailVerificationLink)).all() == []


def test_a_link_verifies_no_later_address(
    closed: TestClient,
    worker: Worker,
    operator: dict[str, str],
    register: Callable[..., str],
    is_verified: Callable[[str], bool],
) -> None:
    user = register(email="old@example.com")
    old = worker.link()
    closed.simulate_patch(user, json={"email": "new@example.com"}, headers=operator)

    assert closed.simulate_post(old).status_code == 404
    assert not is_verified(user)
    _, new = worker.send()
    assert worker.post.recipients == ["old@example.com", "new@example.com"]
    assert closed.simulate_post(new).status_code == 200
    assert is_verified(user)
    closed.simulate_patch(user, json={"name": "Ada", "email": "new@example.com"}, headers=operator)
    assert is_verified(user)
    closed.simulate_patch(user, json={"email": "New@example.com"}, headers=operator)
    assert not is_verified(user)


@pytest.mark.both_backends
def test_a_link_that_was_made_while_the_address_changed_is_not_valid(
    closed: TestClient,
    worker: Worker,
    operator: dict[str, str],
    register: Callable[..., str],
    is_verified: Callable[[str], bool],
) -> None:
    """The worker has read the old address, and stores its link after the change."""
    user = register(email="old@example.com")

    class Late(VerificationEmails):
        def compose(self, subject: Any, now: datetime) -> Outgoing:
            changes = {"email": "new@example.com"}
            closed.simulate_patch(user, json=changes, headers=operator)
            return super().compose(subject, now)

    (old,) = worker.send(Late)
    assert worker.post.recipients == ["old@example.com"]
    assert closed.simulate_post(old).status_code == 404
    assert not is_verified(user)
    _, new = worker.send()
    assert worker.post.recipients[1:] == ["new@example.com"]
    assert closed.simulate_post(new).status_code == 200


def test_a_mail_has_no_text_of_the_user(worker: Worker, register: Callable[..., str]) -> None:
    """Otherwise anybody could send a message of their own to a stranger."""
    register(name="You have won! https://evil.example", email="victim@example.com")
    worker.send()

    (letter,) = worker.post.letters
    assert b"evil" not in letter.as_bytes()
    assert letter["To"] == "victim@example.com"
    assert letter["Auto-Submitted"] == "auto-generated"


def test_a_registration_that_fails_queues_nothing(
    closed: TestClient, engine: sa.Engine, operator: dict[str, str], register: Callable[..., str]
) -> None:
    taken = "taken@example.com"
    register(email=taken)
    user = register()
    assert queued(engine) == 2
    with engine.begin() as connection:
        connection.execute(sa.update(EmailVerification).values(mail_due=None))

    for answer in (
        closed.simulate_post("/users", json=a_user(email=taken), headers=operator),
        closed.simulate_patch(user, json={"email": taken}, headers=operator),
    ):
        assert refusal(answer) == (409, "conflict", {"email": "email_taken"})
    assert queued(engine) == 0


@pytest.mark.both_backends
def test_a_worker_that_dies_loses_no_mail(
    closed: TestClient,
    worker: Worker,
    register: Callable[..., str],
    is_verified: Callable[[str], bool],
) -> None:
    user = register()

    class Killed(Mailer):
        def send(self, email: EmailMessage, to: str) -> None:
            super().send(email, to)
            raise KeyboardInterrupt

    controller = Controller(worker.post, hostname="127.0.0.1", port=worker.port)
    controller.start()
    worker.now += timedelta(minutes=1)
    with pytest.raises(KeyboardInterrupt):
        worker.mails(Killed).run()
    controller.stop()

    assert len(worker.send()) == 1
    worker.now += timedelta(minutes=11)
    first, second = worker.send()
    assert closed.simulate_get(second).status_code == 200
    assert closed.simulate_post(first).status_code == 200
    assert is_verified(user)
    assert closed.simulate_post(second).status_code == 404


@pytest.mark.both_backends
def test_no_mail_is_lost_with_a_dead_server(
    worker: Worker, register: Callable[..., str], engine: sa.Engine
) -> None:
    register()
    worker.now += timedelta(minutes=1)
    for _ in range(5):
        assert worker.mails().run() == 0
        worker.now += timedelta(minutes=6)
    with engine.connect() as connection:
        links = connection.execute(sa.select(sa.func.count(EmailVerificationLink.user_id)))
        assert links.scalar_one() == 3

    assert len(worker.send()) == 1
    assert queued(engine) == 0


def test_a_user_asks_for_another_link(
    closed: TestClient,
    engine: sa.Engine,
    worker: Worker,
    operator: dict[str, str],
    register: Callable[..., str],
) -> None:
    user = register()
    own = bearer(make_token(engine, "user", int(user.rpartition("/")[2])))
    path = f"{user}/email-verification"
    worker.send()

    assert closed.simulate_post(path, headers=own).status_code == 202
    assert queued(engine) == 1
    assert len(worker.send()) == 2
    for link in worker.send():
        assert closed.simulate_get(link).status_code == 200
    assert closed.simulate_post(worker.send()[0]).status_code == 200
    answer = closed.simulate_post(path, headers=own)
    assert refusal(answer) == (409, "conflict", {"email": "email_already_verified"})
    entries = closed.simulate_get(f"{user}/audit", headers=operator).json
    assert [(entry["action"], entry["outcome"]) for entry in entries[1:]] == [
        ("user.send_verification", "done"),
        ("user.verify_email", "done"),
        ("user.send_verification", "refused"),
    ]


def test_a_user_causes_three_mails_an_hour(
    closed: TestClient, engine: sa.Engine, operator: dict[str, str], register: Callable[..., str]
) -> None:
    """By requests and by changes of the address together; another user is not affected."""
    user, other = register(), register()
    own = bearer(make_token(engine, "user", int(user.rpartition("/")[2])))
    path = f"{user}/email-verification"

    assert closed.simulate_post(path, headers=own).status_code == 202
    changed = closed.simulate_patch(user, json={"email": "b@example.com"}, headers=own)
    assert changed.status_code == 200
    answer = closed.simulate_post(path, headers=own)
    assert refusal(answer) == (429, "too-many-requests", {})
    assert int(answer.headers["Retry-After"]) in range(3500, 3602)
    changed = closed.simulate_patch(user, json={"email": "c@example.com"}, headers=own)
    assert changed.status_code == 200
    entries = closed.simulate_get(f"{user}/audit", headers=operator).json
    assert entries[-1]["detail"]["verification_mail"] == "limited"
    assert queued(engine) == 1
    assert closed.simulate_post(f"{other}/email-verification", headers=operator).status_code == 202


def test_an_address_gets_three_mails_an_hour_whoever_causes_them(
    closed: TestClient, engine: sa.Engine, operator: dict[str, str], register: Callable[..., str]
) -> None:
    """Deleting the user does not help, nor does a tag, nor another case."""
    numbers = []
    for address in ("v@x.example", "V@x.example", "v+1@x.example", "v+2@x.example", "v@x.example"):
        user = register(email=address)
        numbers.append(queued(engine))
        closed.simulate_delete(user, headers=operator)
    assert numbers == [1, 1, 1, 0, 0]


def test_a_network_causes_ten_mails_an_hour(registering: TestClient, engine: sa.Engine) -> None:
    """Users are registered all the same."""
    for number in range(12):
        answer = registering.simulate_post(
            "/users", json=a_user(), remote_addr=f"2001:db8:0:1::{number}"
        )
        assert answer.status_code == 201
    assert queued(engine) == 10
    registering.simulate_post("/users", json=a_user(), remote_addr="2001:db8:0:2::1")
    assert queued(engine) == 11


@pytest.mark.both_backends
def test_many_at_once_are_no_more_than_one_after_the_other(
    database: Database, engine: sa.Engine
) -> None:
    ids = add_users(engine, 24)
    verification = AddressVerification(database, lambda: datetime.now(UTC), by_mail=True)
    caller = Principal("anybody", "request", "192.0.2.1")

    def queue(user_id: int) -> bool:
        with database.begin(EVERYBODY) as session:
            user = session.get(User, user_id, with_for_update=True)
            assert user
            return verification.queue(session, caller, user) is None

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(queue, ids)) == 10
    assert queued(engine) == 10


def test_operators_say_whether_an_address_is_verified(
    closed: TestClient,
    engine: sa.Engine,
    worker: Worker,
    operator: dict[str, str],
    register: Callable[..., str],
    is_verified: Callable[[str], bool],
) -> None:
    user = register()
    link = worker.link()
    path = f"{user}/email-verification"
    read = closed.simulate_get(user, headers=operator)
    current = {"If-Match": read.headers["ETag"], **operator}
    own = bearer(make_token(engine, "user", read.json["id"]))

    assert refusal(closed.simulate_put(path, json={"verified": True}, headers=own))[0] == 403
    closed.simulate_patch(user, json={"email": "mallory@example.com"}, headers=own)
    answer = closed.simulate_put(path, json={"verified": True}, headers=current)
    assert refusal(answer) == (412, "precondition-failed", {})
    assert not is_verified(user)

    answer = closed.simulate_put(path, json={"verified": True}, headers=operator)
    assert (answer.status_code, answer.json["email_verified"]) == (200, True)
    assert closed.simulate_post(link).status_code == 404
    assert closed.simulate_put(path, json={"verified": True}, headers=operator).status_code == 200
    answer = closed.simulate_put(path, json={"verified": False}, headers=operator)
    assert (answer.status_code, answer.json["email_verified"]) == (200, False)
    entries = closed.simulate_get(f"{user}/audit", headers=operator).json
    told = [
        (entry["outcome"], entry["detail"].get("verified"))
        for entry in entries
        if entry["action"] == "user.verify_email"
    ]
    assert told == [("refused", None), ("done", True), ("unchanged", True), ("done", False)]
    # A waiting mail was void when the address was verified.
    assert queued(engine) == 0


def test_an_open_service_has_operators_alone(client: TestClient, owner: int) -> None:
    """Without a mail server or a public URL, only they verify addresses."""
    path = f"/users/{owner}/email-verification"

    answer = client.simulate_post(path)
    assert refusal(answer) == (409, "conflict", {"email": "email_not_configured"})
    assert client.simulate_put(path, json={"verified": True}).json["email_verified"] is True
    assert client.simulate_get(f"/users/{owner}").json["email_verified"] is True


def test_nothing_is_queued_where_links_cannot_be_mailed(
    client: TestClient, engine: sa.Engine, owner: int
) -> None:
    client.simulate_patch(f"/users/{owner}", json={"email": "new@example.com"})

    assert (queued(engine), dump(engine)["rate_counts"]) == (0, [])


def test_the_button_of_the_page_is_let_in_by_an_open_service(client: TestClient) -> None:
    """A page without a referrer sends `Origin: null`; only a browser says that it is our own."""
    null = {"Origin": "null"}
    statuses = [
        client.simulate_post(UNKNOWN, headers={**null, **site}).status_code
        for site in (
            {"Sec-Fetch-Site": "same-origin"},
            {},
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": "cross-site"},
        )
    ]
    assert statuses == [404, 403, 403, 403]
