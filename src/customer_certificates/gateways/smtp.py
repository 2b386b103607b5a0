"""Sends email by SMTP (RFC 5321)."""

import smtplib
import ssl
from contextlib import suppress
from email import message_from_bytes, policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

from ..errors import Failure
from ..setting_parsers import SmtpServer

_SECONDS = 15.0
# A server may check an email for long before it accepts it (RFC 5321, 4.5.3.2.6: ten minutes).
ANSWER_SECONDS = 120.0
_MAX_REPLY_CHARACTERS = 300


class MailRefused(Failure):
    """The server permanently rejected the email. `detail` says why."""


class MailDelayed(Failure):
    """The server temporarily rejected the email.

    `detail` says why. `is_for_all`: the server accepts no email now.
    """

    def __init__(self, detail: str, *, is_for_all: bool) -> None:
        super().__init__(detail)
        self.is_for_all = is_for_all


class Mailer:
    """Sends emails to the server, with a connection for each."""

    def __init__(self, server: SmtpServer, sender: Address, roots_pem: bytes) -> None:
        """`sender` is the From address. `roots_pem` are the trusted roots."""
        self._server = server
        self.sender = sender
        self._tls = ssl.create_default_context(cadata=roots_pem.decode())

    def send(self, email: EmailMessage, to: str) -> None:
        """Returns once the server has accepted `email` for the address `to`.

        Raises MailRefused, also for an email with injected headers; MailDelayed.
        """
        is_international = not to.isascii()
        content = _serialized(email, is_international=is_international)
        try:
            connection = self._connect()
        except (smtplib.SMTPException, OSError) as error:
            # The server is unreachable, TLS fails, or the credentials are rejected.
            raise MailDelayed(_reply(error), is_for_all=True) from error
        try:
            if is_international and not connection.has_extn("smtputf8"):
                raise MailRefused("The mail server does not accept non-ASCII addresses.")
            if connection.sock:
                connection.sock.settimeout(ANSWER_SECONDS)
            options = ("SMTPUTF8", "BODY=8BITMIME") if is_international else ()
            connection.sendmail(self.sender.addr_spec, [to], content, options)
        except smtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[to]
            raise _rejection(code, text) from error
        except smtplib.SMTPDataError as error:
            raise _rejection(error.smtp_code, error.smtp_error) from error
        except (smtplib.SMTPException, OSError) as error:
            # This email may be the cause, so others do not wait for it.
            raise MailDelayed(_reply(error), is_for_all=False) from error
        finally:
            # The server's final response is already known.
            with suppress(smtplib.SMTPException, OSError):
                connection.quit()
            connection.close()

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        if server.tls == "implicit":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=_SECONDS, context=self._tls
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=_SECONDS)
        try:
            if server.tls == "starttls":
                connection.starttls(context=self._tls)
            if server.user:
                connection.login(server.user, server.password or "")
            connection.ehlo_or_helo_if_needed()
        except BaseException:
            connection.close()
            raise
        return connection


def _serialized(email: EmailMessage, *, is_international: bool) -> bytes:
    """Returns the bytes to send.

    Only an international email has UTF-8 in its headers (RFC 6532). Raises MailRefused if a reader
    of these bytes would see other headers than the email was given. The email package must not
    write line breaks into headers; some versions do (CVE-2024-6923).
    """
    rejected = MailRefused("A header of the email contains a line break.")
    try:
        content = email.as_bytes(policy=policy.SMTPUTF8 if is_international else policy.SMTP)
    except MessageError:
        raise rejected from None
    read = message_from_bytes(content, policy=policy.default)
    if read.keys() != email.keys():
        raise rejected
    return content


def _rejection(code: int, text: Any) -> MailRefused | MailDelayed:
    """Returns the error for an SMTP response (RFC 5321, 4.2.1)."""
    reply = f"{code} {_text(text)}"
    if 500 <= code < 600:
        return MailRefused(reply)
    return MailDelayed(reply, is_for_all=False)


def _reply(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return _text(str(error) or type(error).__name__)


def _text(reply: str | bytes) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return " ".join(text.replace("\0", " ").split())[:_MAX_REPLY_CHARACTERS]
