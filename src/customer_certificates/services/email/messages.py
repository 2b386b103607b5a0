"""Composes emails about the expiry of certificates."""

from datetime import datetime, timedelta
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import NamedTuple

import idna

from ...gateways.database.sql_functions import names_of

_SHOWN_NAMES = 20
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


class Subject(NamedTuple):
    """The recipient and the certificate of an email; `hostnames` is JSON."""

    user_id: int
    name: str
    email: str
    certificate_id: int
    version: int
    threshold: str
    hostnames: str
    not_after: datetime
    fingerprint_sha256: str | None


def address_of(email: str) -> str:
    """Returns an email address for servers: an international domain in ASCII (RFC 5891)."""
    local, _, domain = email.rpartition("@")
    try:
        return f"{local}@{idna.encode(domain).decode()}"
    except idna.IDNAError:
        return email


def expiry_email(subject: Subject, sender: Address, now: datetime) -> EmailMessage:
    """Returns the email to a certificate's owner, as of `now`."""
    names = [_readable(name) for name in names_of(subject.hostnames)] or [
        f"certificate {subject.certificate_id}"
    ]
    when = _when(subject.not_after - now)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient(_display_name(subject.name), address_of(subject.email))
    message["Subject"] = f"{names[0]}{more}: the certificate {when}"
    message["Date"] = now
    # The same for every attempt, so that a mailbox can detect duplicates.
    notice = f"{subject.certificate_id}-{subject.version}-{subject.threshold}"
    message["Message-ID"] = f"<expiry-{notice}@{sender.domain}>"
    message["List-Id"] = f"<certificate-expiry.{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(subject, names, when, now), cte="quoted-printable")
    return message


def recipient(name: str, address: str) -> Address:
    """Returns the value of a To header."""
    try:
        return Address(name, addr_spec=address)
    except (HeaderParseError, ValueError):
        # Its local part needs quotes.
        local, _, domain = address.rpartition("@")
        return Address(name, local, domain)


def _text(subject: Subject, names: list[str], when: str, now: datetime) -> str:
    shown = [f"    {name}" for name in names[:_SHOWN_NAMES]]
    if len(names) > _SHOWN_NAMES:
        shown.append(f"    and {len(names) - _SHOWN_NAMES} more")
    expires = subject.not_after
    date = f"{expires:%A}, {expires.day} {expires:%B %Y, at %H:%M} UTC"
    path = f"/users/{subject.user_id}/certificates/{subject.certificate_id}"
    has_expired = expires < now
    return "\n".join(
        [
            f"Hello {_clean(subject.name)},",
            "",
            "The certificate for",
            "",
            *shown,
            "",
            f"{when}: {'it expired' if has_expired else 'it expires'} on {date}.",
            "Browsers now show a security warning for these hostnames."
            if has_expired
            else "From then on, browsers show a security warning for these hostnames.",
            "",
            "What to do: get a new certificate for the same hostnames, and upload it with",
            f"PUT {path}",
            "It is served at once. If you no longer use the hostnames, deactivate the certificate",
            f"with PATCH {path}/active",
            "",
            f"Certificate {subject.certificate_id} of user {subject.user_id}, version "
            f"{subject.version}",
            *([f"SHA-256 {subject.fingerprint_sha256}"] if subject.fingerprint_sha256 else []),
            "",
            "You receive this email because the certificate belongs to your account. To change",
            f"when you are notified, use PUT /users/{subject.user_id}/expiry",
            "",
        ]
    )


def _when(left: timedelta) -> str:
    if left < timedelta(0):
        return "has expired"
    if left >= 1.5 * _DAY:
        return f"expires in {round(left / _DAY)} days"
    hours = round(left / _HOUR)
    if hours > 1:
        return f"expires in {hours} hours"
    return "expires within the hour" if hours < 1 else "expires in an hour"


def _readable(name: str) -> str:
    """Returns a hostname; an international one is preceded by its readable form."""
    name = _clean(name)
    try:
        labels = [idna.decode(part) if part[:4] == "xn--" else part for part in name.split(".")]
    except (idna.IDNAError, UnicodeError):
        return name
    readable = _clean(".".join(labels))
    return name if readable == name else f"{readable} ({name})"


def _display_name(name: str) -> str:
    """Returns `name` for a header.

    The email package decodes encoded words (RFC 2047) in it, and some versions then write the line
    ends in them unescaped (CVE-2024-6923).
    """
    return _clean(name).replace("=?", "= ?")


def _clean(text: str) -> str:
    """Returns `text` in one line, without characters that hide or reverse others."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
