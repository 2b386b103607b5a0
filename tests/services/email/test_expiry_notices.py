"""Owners get email through a real mail server, which rejects, defers, and dies."""

import email
import email.policy
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from customer_certificates.gateways.database import Database
from customer_certificates.gateways.smtp import Mailer, MailRefused
from customer_certificates.models import Certificate, ExpiryNotice, User
from customer_certificates.services.email.expiry_notices import ExpiryNoticeEmails
from customer_certificates.services.events.log import Events
from customer_certificates.services.expiry.notifier import Expiry
from customer_certificates.services.user_lock import lock_user
from customer_certificates.services.users.address_verification import AddressVerification
from customer_certificates.setting_parsers import SmtpServer

from ...factories import a_pair
from ...servers import free_port
from ...tables import add_certificates, add_users

pytestmark = pytest.mark.one_backend

END = datetime(2027, 3, 1, 14, 5, tzinfo=UTC)
SENDER = Address("Certificates", "certificates", "service.example")
NAME = "mail.example"
DAY = timedelta(days=1)


class Post:
    """A handler of a mail server: stores emails, and responds as configured."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.was_secured: list[bool] = []
        self.answer = "250 OK"
        self.answer_to_recipient = "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if self.answer_to_recipient.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.answer_to_recipient

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answer.startswith("2"):
            self.letters.append(
                email.message_from_bytes(envelope.content, policy=email.policy.default)
            )
            self.recipients += envelope.rcpt_tos
            self.was_secured.append(session.ssl is not None)
        return self.answer


class Office:
    """Both jobs of a worker at any time, with their own mail server."""

    def __init__(self, database: Database, engine: sa.Engine) -> None:
        self.database, self.engine = database, engine
        self.now = END - 7 * DAY
        self.port = free_port()
        self.server = SmtpServer("127.0.0.1", self.port, "none")
        (self.user,) = add_users(engine, 1)
        self.change_user(name="Ada Lovelace", email="ada@example.com", email_verified_at=self.now)

    def change_user(self, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.update(User).where(User.id == self.user).values(**values))

    def add(self, *names: str, days: float = 90) -> int:
        (made,) = add_certificates(
            self.engine,
            self.user,
            1,
            not_before=END - days * DAY,
            not_after=END,
            hostnames=json.dumps(names),
            fingerprint_sha256="ab" * 32,
        )
        return made

    def tell(self) -> int:
        events = Events(self.database, lambda: self.now)
        return Expiry(self.database, events, lambda: self.now, by_mail=True).notify()

    def send(self) -> int:
        mailer = Mailer(self.server, SENDER, a_pair(NAME).body.encode())
        return ExpiryNoticeEmails(self.database, mailer, lambda: self.now).send()

    def look(self) -> None:
        """Checks the certificates whose next threshold has passed."""
        with self.engine.begin() as connection:
            due = sa.update(Certificate).where(Certificate.expiry_due.is_not(None))
            connection.execute(due.values(expiry_due=self.now))

    def set_verified(self, verified: bool) -> None:
        """Verifies the address, or undoes it, as a link or an operator does."""
        verification = AddressVerification(self.database, lambda: self.now, by_mail=False)
        with self.database.begin(self.user) as session:
            user = lock_user(session, self.user)
            if verified:
                verification.set_verified(session, user)
            else:
                verification.set_unverified(session, user)

    def notices(self) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(ExpiryNotice).order_by(ExpiryNotice.id)))

    @contextmanager
    def open(self, post: Post, **options: Any) -> Iterator[Post]:
        controller = Controller(post, hostname="127.0.0.1", port=self.port, **options)
        controller.start()
        try:
            yield post
        finally:
            controller.stop()


@pytest.fixture
def office(database: Database, engine: sa.Engine) -> Office:
    return Office(database, engine)


@pytest.fixture
def post() -> Post:
    return Post()


def test_the_email_describes_the_expiry(office: Office, post: Post) -> None:
    certificate = office.add("www.example.com", "xn--bcher-kva.example")
    with office.open(post):
        assert (office.tell(), office.send(), office.send()) == (1, 1, 0)

    (letter,) = post.letters
    assert post.recipients == ["ada@example.com"]
    assert letter["Subject"] == "www.example.com and 1 more: the certificate expires in 7 days"
    assert letter["To"] == "Ada Lovelace <ada@example.com>"
    assert letter["From"] == "Certificates <certificates@service.example>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["List-Id"] == "<certificate-expiry.service.example>"
    assert letter["Message-ID"] == f"<expiry-{certificate}-1-7d@service.example>"
    assert letter["Date"].datetime == office.now
    assert letter.get_content_type() == "text/plain"
    text = letter.get_content().replace("\r\n", "\n")
    assert "Hello Ada Lovelace," in text
    assert "    www.example.com\n    bücher.example (xn--bcher-kva.example)\n" in text
    assert "expires in 7 days: it expires on Monday, 1 March 2027, at 14:05 UTC." in text
    assert f"PUT /users/{office.user}/certificates/{certificate}\n" in text
    assert "ab" * 32 in text
    (notice,) = office.notices()
    assert (notice.mail_due, notice.mail_error, notice.mail_tries) == (None, None, 1)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (30, "expires in 30 days"),
        (1.4, "expires in 34 hours"),
        (0.04, "expires in an hour"),
        (0.001, "expires within the hour"),
        (-1, "has expired"),
    ],
)
def test_the_remaining_time_in_words(office: Office, post: Post, days: float, words: str) -> None:
    office.add("www.example.com")
    office.now = END - days * DAY
    with office.open(post):
        office.tell()
        office.send()

    assert post.letters[-1]["Subject"] == f"www.example.com: the certificate {words}"


def test_without_a_mail_server_no_email_is_queued(office: Office, database: Database) -> None:
    office.add("www.example.com")
    events = Events(database, lambda: office.now)
    Expiry(database, events, lambda: office.now, by_mail=False).notify()

    assert [notice.mail_due for notice in office.notices()] == [None]


def test_nobody_writes_headers(office: Office, post: Post) -> None:
    office.change_user(
        name="Ada\u2028\u202ebad, <x@y>; Lovelace", email='"a,b"@xn--bcher-kva.example'
    )
    office.add("www.example.com\r\nBcc: all@example.com", "\x00\u200b.example")
    with office.open(post):
        office.tell()
        assert office.send() == 1

    (letter,) = post.letters
    assert letter["Bcc"] is None
    assert "\n" not in letter["Subject"]
    assert post.recipients == ['"a,b"@xn--bcher-kva.example']
    (to,) = letter["To"].addresses
    assert to.addr_spec == '"a,b"@xn--bcher-kva.example'
    assert to.display_name == "Ada��bad, <x@y>; Lovelace"


@pytest.mark.parametrize(
    "name",
    [
        "=?utf-8?q?Ada=0D=0ABcc:_evil@example.org=0D=0A=0D=0Abody?=",
        "=?utf-8?b?QWRhDQpCY2M6IGV2aWxAZXhhbXBsZS5vcmcNCg0KYm9keQ==?=",
        "Ada =?utf-8?q?=0ABcc:_evil@example.org?= Lovelace",
        "=?=?utf-8?q?x=0D=0ABcc:_evil@example.org?=",
    ],
)
def test_an_encoded_name_adds_no_header(office: Office, post: Post, name: str) -> None:
    office.change_user(name=name)
    office.add("www.example.com")
    with office.open(post):
        office.tell()
        assert office.send() == 1

    (letter,) = post.letters
    assert letter["Bcc"] is None
    assert "evil@example.org" not in post.recipients
    assert letter.get_content().startswith("Hello ")


def test_a_name_cannot_add_headers_to_an_email() -> None:
    """Python before 3.11.10 writes the line end into the header; newer versions raise an error."""
    letter = EmailMessage()
    letter.set_raw("To", "Ada <a@example.com>\r\nBcc: evil@example.org")
    letter.set_content("hello")
    mailer = Mailer(SmtpServer("127.0.0.1", free_port(), "none", None, None), SENDER, b"")

    with pytest.raises(MailRefused):
        mailer.send(letter, "a@example.com")


def test_international_addresses(office: Office, post: Post) -> None:
    office.change_user(email="ada@bücher.example")
    office.add("www.example.com")
    with office.open(post, enable_SMTPUTF8=False):
        office.tell()
        assert office.send() == 1
        office.change_user(email="ädä@example.com")
        office.add("b.example")
        office.tell()
        assert office.send() == 0
    assert post.recipients == ["ada@xn--bcher-kva.example"]
    assert "ASCII" in office.notices()[-1].mail_error

    office.add("c.example")
    with office.open(post, enable_SMTPUTF8=True):
        office.tell()
        assert office.send() == 1
    assert post.recipients[1:] == ["ädä@example.com"]


def test_a_rejected_recipient_is_given_up_and_logged(
    office: Office, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = office.add("www.example.com")
    office.tell()
    post.answer_to_recipient = "550 5.1.1 No such user"
    with office.open(post):
        assert office.send() == 0
        post.answer_to_recipient = "250 OK"
        office.now += DAY
        assert office.send() == 0

    (notice,) = office.notices()
    assert (notice.mail_due, notice.mail_error) == (None, "550 5.1.1 No such user")
    assert f"certificate {certificate} was not sent: 550 5.1.1 No such user" in caplog.text
    assert "ada@example.com" not in caplog.text


def test_a_deferred_email_is_sent_later(office: Office, post: Post) -> None:
    office.add("www.example.com")
    office.tell()
    post.answer_to_recipient = "450 4.2.1 Busy"
    waits = []
    with office.open(post):
        for _ in range(6):
            begin = office.now
            assert office.send() == 0
            (notice,) = office.notices()
            office.now = notice.mail_due.replace(tzinfo=UTC)
            waits.append(office.now - begin)
            assert notice.mail_error == "450 4.2.1 Busy"
        post.answer_to_recipient, post.answer = "250 OK", "451 Later"
        assert office.send() == 0
        office.now += timedelta(hours=6)
        post.answer = "250 OK"
        assert office.send() == 1

    minutes = [wait / timedelta(minutes=1) for wait in waits]
    assert minutes == [1, 4, 16, 64, 256, 360]
    (notice,) = office.notices()
    assert (notice.mail_tries, notice.mail_error) == (8, None)


def test_an_email_that_is_deferred_for_two_weeks_is_given_up(office: Office, post: Post) -> None:
    office.add("www.example.com")
    office.tell()
    with office.engine.begin() as connection:
        connection.execute(sa.update(ExpiryNotice).values(mail_tries=59))
    post.answer = "452 Full"
    with office.open(post):
        office.send()

    (notice,) = office.notices()
    assert (notice.mail_due, notice.mail_error) == (None, "452 Full")


@pytest.mark.both_backends
def test_no_email_is_lost_with_a_dead_server(office: Office, post: Post) -> None:
    for number in range(25):
        office.add(f"{number}.example")
    office.tell()
    for _ in range(3):
        assert office.send() == 0
        office.now += timedelta(hours=1)
    assert {notice.mail_tries for notice in office.notices()} == {0}

    with office.open(post):
        assert office.send() == 25
    assert len({letter["Message-ID"] for letter in post.letters}) == 25


@pytest.mark.both_backends
def test_emails_of_a_dead_worker_are_sent_by_another(office: Office, post: Post) -> None:
    office.add("www.example.com")
    office.tell()

    class Killed(Mailer):
        def send(self, email: EmailMessage, to: str) -> None:
            super().send(email, to)
            raise KeyboardInterrupt

    with office.open(post):
        mailer = Killed(office.server, SENDER, a_pair(NAME).body.encode())
        with pytest.raises(KeyboardInterrupt):
            ExpiryNoticeEmails(office.database, mailer, lambda: office.now).send()
        assert office.send() == 0
        office.now += timedelta(minutes=11)
        assert office.send() == 1

    first, second = post.letters
    assert first["Message-ID"] == second["Message-ID"]


@pytest.mark.parametrize("change", [{"active": False}, {"version": 2}])
def test_an_email_about_a_changed_certificate_is_not_sent(
    office: Office, post: Post, change: dict[str, Any]
) -> None:
    office.add("www.example.com")
    office.tell()
    with office.engine.begin() as connection:
        connection.execute(sa.update(Certificate).values(**change))
    with office.open(post):
        assert office.send() == 0

    assert "replaced" in office.notices()[0].mail_error


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    pair = a_pair(NAME)
    (tmp_path / "mail.pem").write_bytes(pair.body.encode() + pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "mail.pem")
    return context


def authenticator(*_: Any) -> AuthResult:
    login = _[-1]
    known = (login.login, login.password) == (b"us er", b"pa:ss/word")
    return AuthResult(success=known, handled=False)


def at_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolves the mail server's name to this machine."""
    import socket

    real: Callable[..., Any] = socket.getaddrinfo

    def here(host: Any, *arguments: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host == NAME else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)


@pytest.mark.parametrize("password", ["pa:ss/word", "wrong"])
def test_starttls_and_a_password(
    office: Office,
    post: Post,
    tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    password: str,
) -> None:
    at_name(monkeypatch)
    office.add("www.example.com")
    office.tell()
    office.server = SmtpServer(NAME, office.port, "starttls", "us er", password)
    options = {"tls_context": tls, "require_starttls": True, "auth_required": True}
    with office.open(post, authenticator=authenticator, **options):
        sent = office.send()

    if password == "wrong":
        # Nobody's address is to blame: it waits until the settings are right.
        assert sent == 0
        assert "535" in office.notices()[0].mail_error
        assert office.notices()[0].mail_due
        assert "wrong" not in caplog.text
    else:
        assert (sent, post.was_secured) == (1, [True])


def test_no_password_is_shown_without_tls(
    office: Office, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_name(monkeypatch)
    office.add("www.example.com")
    office.tell()
    office.server = SmtpServer(NAME, office.port, "starttls", "us er", "pa:ss/word")
    with office.open(post, authenticator=authenticator, auth_require_tls=False):
        assert office.send() == 0

    assert "STARTTLS" in office.notices()[0].mail_error


def test_another_s_certificate_is_not_trusted(
    office: Office, post: Post, tls: ssl.SSLContext
) -> None:
    office.add("www.example.com")
    office.tell()
    office.server = SmtpServer("127.0.0.1", office.port, "starttls")
    with office.open(post, tls_context=tls):
        assert office.send() == 0

    assert "certificate verify failed" in office.notices()[0].mail_error


def test_no_email_is_sent_before_the_address_is_verified(office: Office, post: Post) -> None:
    """After the verification, only the last notice of each certificate is sent."""
    office.set_verified(False)
    office.add("a.example")
    office.now = END - 30 * DAY
    replaced = office.add("b.example")
    with office.open(post):
        assert (office.tell(), office.send()) == (2, 0)
        with office.engine.begin() as connection:
            of_replaced = sa.update(Certificate).where(Certificate.id == replaced)
            connection.execute(of_replaced.values(version=2, expiry_due=None))
        office.now = END - 7 * DAY
        office.look()
        assert (office.tell(), office.send()) == (1, 0)
        office.set_verified(True)
        office.set_verified(True)
        assert (office.send(), office.send()) == (1, 0)

    assert [letter["Subject"] for letter in post.letters] == [
        "a.example: the certificate expires in 7 days"
    ]
    assert [notice.mail_held for notice in office.notices()] == [False] * 3
    assert [notice.mail_error for notice in office.notices()] == [
        "A later notice was sent instead.",
        "The certificate was replaced or deactivated in the meantime.",
        None,
    ]


def test_a_queued_email_is_held_if_the_address_is_no_longer_verified(
    office: Office, post: Post
) -> None:
    office.add("www.example.com")
    office.tell()
    office.set_verified(False)
    office.change_user(email="new@example.com")
    with office.open(post):
        assert office.send() == 0
        office.set_verified(True)
        assert office.send() == 1

    assert post.recipients == ["new@example.com"]


def test_a_notice_of_an_earlier_worker_waits_for_verification(office: Office, post: Post) -> None:
    """A worker of an earlier version does not hold the notice."""
    office.add("www.example.com")
    office.tell()
    office.change_user(email_verified_at=None)
    with office.open(post):
        assert office.send() == 0
        office.set_verified(True)
        office.now += timedelta(hours=6)
        assert office.send() == 1
