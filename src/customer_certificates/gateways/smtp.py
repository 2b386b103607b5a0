"""The server that takes letters (SMTP, RFC 5321)."""

import smtplib
import ssl
from contextlib import suppress
from email import message_from_bytes, policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

from ..config import SmtpServer

_SECONDS = 15.0
# A server may look long at a letter before it takes it (RFC 5321, 4.5.3.2.6, has ten minutes).
ANSWER_SECONDS = 120.0
_KEPT_CHARACTERS = 300


class MailRefused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """The server will never take this letter. `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MailDelayed(Exception):  # noqa: N818
    """The server does not take it now. `detail` says why; `is_for_all`: it takes none at all."""

    def __init__(self, detail: str, *, is_for_all: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.is_for_all = is_for_all


class Mailer:
    """Hands letters to the server, over a connection for each."""

    def __init__(self, server: SmtpServer, sender: Address, roots_pem: bytes) -> None:
        """`sender` is whom letters are from; `roots_pem` says whose certificates are trusted."""
        self._server = server
        self.sender = sender
        self._tls = ssl.create_default_context(cadata=roots_pem.decode())

    def send(self, letter: EmailMessage, to: str) -> None:
        """Returns when the server has taken `letter`, for the address `to`.

        Raises MailRefused, also for a letter that would gain headers on the way; MailDelayed.
        """
        is_international = not to.isascii()
        written = _written(letter, is_international=is_international)
        try:
            connection = self._connected()
        except (smtplib.SMTPException, OSError) as error:
            # It is not there, TLS fails, the credentials are refused.
            raise MailDelayed(_said(error), is_for_all=True) from error
        try:
            if is_international and not connection.has_extn("smtputf8"):
                raise MailRefused("The mail server does not accept non-ASCII addresses.")
            if connection.sock:
                connection.sock.settimeout(ANSWER_SECONDS)
            options = ("SMTPUTF8", "BODY=8BITMIME") if is_international else ()
            connection.sendmail(self.sender.addr_spec, [to], written, options)
        except smtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[to]
            raise _judged(code, text) from error
        except smtplib.SMTPDataError as error:
            raise _judged(error.smtp_code, error.smtp_error) from error
        except (smtplib.SMTPException, OSError) as error:
            # It may be this letter's fault: others are not to wait for it.
            raise MailDelayed(_said(error), is_for_all=False) from error
        finally:
            # The letter is taken, or it is not, whatever is said in parting.
            with suppress(smtplib.SMTPException, OSError):
                connection.quit()
            connection.close()

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.tls == "implicit":
            opened: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=_SECONDS, context=self._tls
            )
        else:
            opened = smtplib.SMTP(server.host, server.port, timeout=_SECONDS)
        try:
            if server.tls == "starttls":
                opened.starttls(context=self._tls)
            if server.user:
                opened.login(server.user, server.password or "")
            opened.ehlo_or_helo_if_needed()
        except BaseException:
            opened.close()
            raise
        return opened


def _written(letter: EmailMessage, *, is_international: bool) -> bytes:
    """The bytes to send; only an international letter has UTF-8 in its headers (RFC 6532).

    Raises MailRefused if a reader of these bytes would see other headers than the letter was given.
    The email package must not write line ends into headers; some versions do (CVE-2024-6923).
    """
    refused = MailRefused("A header of the email contains a line break.")
    try:
        written = letter.as_bytes(policy=policy.SMTPUTF8 if is_international else policy.SMTP)
    except MessageError:
        raise refused from None
    read = message_from_bytes(written, policy=policy.default)
    if read.keys() != letter.keys():
        raise refused
    return written


def _judged(code: int, text: Any) -> MailRefused | MailDelayed:
    """What an answer to a letter means (RFC 5321, 4.2.1)."""
    said = f"{code} {_text(text)}"
    if 500 <= code < 600:
        return MailRefused(said)
    return MailDelayed(said, is_for_all=False)


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return _text(str(error) or type(error).__name__)


def _text(said: str | bytes) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.replace("\0", " ").split())[:_KEPT_CHARACTERS]
