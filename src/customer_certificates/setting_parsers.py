"""Parsers of settings. Each returns a value, or raises ValueError: the rest of a sentence."""

import base64
import ipaddress
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from email.headerregistry import Address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DNS_PORT = 53
_HOST_AND_PORT = re.compile(r"([^:\[\]]*|\[[^\[\]]+\])(:[0-9]{1,5})?")
_HOSTNAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"


class MasterKeyAddress(NamedTuple):
    """The location of a master key: a file's path, a URL that ends in a key's name, or an ARN.

    `may_be_made`: the first start creates a missing file, as in `lcl` and `tst`.
    """

    kind: Literal["file", "transit", "aws-kms"]
    where: str
    may_be_made: bool = False


class ProbeAddress(NamedTuple):
    """The address of a TLS terminator, and its name in reports."""

    name: str
    host: str
    port: int


class ResolverAddress(NamedTuple):
    """The IP address and the port of a DNS resolver."""

    address: str
    port: int

    def __str__(self) -> str:
        if self.port == _DNS_PORT:
            return self.address
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The mail server: with TLS from the start, with STARTTLS, or without TLS."""

    host: str
    port: int
    tls: Literal["implicit", "starttls", "none"]
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def choice(values: Any, description: str) -> Callable[[str], Any]:
    """Returns a parser of a Literal's values."""

    def parse(text: str) -> Any:
        if text not in get_args(values):
            raise ValueError(f"must be {description}, not {text!r}.")
        return text

    return parse


def whole(least: int, most: int) -> Callable[[str], int]:

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 9 and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}, not {text!r}.")
        return int(text)

    return parse


port_number = whole(1, 65535)


def flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"must be true or false, not {text!r}.")
    return text == "true"


def absolute_path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def folder(text: str) -> Path:
    """Returns a folder's absolute path, which may stand in a database URL."""
    if "?" in text:
        raise ValueError(f"must not contain a question mark: {text!r}.")
    return absolute_path(text)


def public_url(text: str) -> str:
    # An error of urlsplit may quote a part of a password.
    with suppress(ValueError):
        parts = urlsplit(text)
        path = parts.path.rstrip("/")
        if (
            text.isascii()
            and text.isprintable()
            and parts.scheme in ("https", "http")
            and parts.hostname
            and parts.port != 0
            and re.fullmatch(r"[A-Za-z0-9.:\[\]_-]{1,255}", parts.netloc)
            and re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path)
            and not (parts.query or parts.fragment)
        ):
            return f"{parts.scheme}://{parts.netloc}{path}"
    raise ValueError(
        "must be the URL of the service for users, like https://certificates.example.com, without "
        "a user, a query or a fragment."
    )


def origin(text: str) -> str:
    """Returns the origin of a site, as browsers write it."""
    match = re.fullmatch(
        r"(https?)://([a-z0-9.-]{1,253}|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?/?", text
    )
    if match:
        scheme, host, port = match.groups("")
        default = {"https": ":443", "http": ":80"}[scheme]
        # Others could change pages that are sent over plain HTTP.
        if scheme == "https" or host in ("localhost", "127.0.0.1", "[::1]"):
            return f"{scheme}://{host}{'' if port == default else port}"
    raise ValueError(
        "must list origins, a scheme and a host in lower case without a path, like "
        f"https://portal.example.com, not {text!r}. http is allowed for localhost only."
    )


def webhook_url(text: str) -> str:
    """Returns the URL of a webhook; its other rules are checked later."""
    if not re.fullmatch(r"https?://[!-~]{1,1990}", text):
        raise ValueError(f"must look like https://hooks.example.com/path, not {text!r}.")
    return text


def webhook_secret(text: str) -> str:
    encoded = text.removeprefix("whsec_")
    try:
        is_long_enough = len(base64.b64decode(encoded, validate=True)) >= 24
    except ValueError:
        is_long_enough = False
    if encoded == text or not is_long_enough:
        raise ValueError(
            "must be whsec_ and 24 to 64 bytes in base64 (Standard Webhooks). To create one, run: "
            "echo whsec_$(openssl rand -base64 32)"
        )
    return text


def ed25519_key(text: str) -> bytes:
    # A slow import that most commands do not need.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = text.encode()
    try:
        key = load_pem_private_key(pem, None)
    except (TypeError, ValueError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(
            "must be an Ed25519 private key in PEM, without a passphrase. To create one, run: "
            "openssl genpkey -algorithm ed25519"
        )
    return pem


def host_address(text: str) -> str:
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(
            f"must be an IP address to listen on, like 127.0.0.1 or 0.0.0.0, not {text!r}."
        ) from None


def host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return host_address(host.strip("[]")), port_number(port)
    except ValueError:
        raise ValueError(
            f"must be an IP address and a port, like 127.0.0.1:9001 or [::1]:9001, not {text!r}."
        ) from None


def hostname(text: str) -> str:
    """Returns a hostname in lower case, or an IP address."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(text))
    name = text.lower().removesuffix(".")
    if len(name) > 253 or not _HOSTNAME.fullmatch(name):
        raise ValueError(
            "must list hostnames (international ones as xn--…) or IP addresses, like "
            f"edge.example.com,192.0.2.1, not {text!r}."
        )
    return name


def challenge_domain(text: str) -> str:
    """Returns a domain name in lower case, short enough for another label."""
    name = text.lower().removesuffix(".")
    # The service prepends a label of 32 characters and a dot.
    if not re.fullmatch(rf"({_LABEL}\.)+(?![0-9]+$){_LABEL}", name) or len(name) > 253 - 33:
        raise ValueError(f"must be a domain name, like challenges.example.net, not {text!r}.")
    return name


def network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"must list addresses or ranges, like 10.1.2.0/24,10.1.3.4: {error}."
        ) from None


def probe_address(text: str) -> ProbeAddress:
    """Returns the address of a terminator, on port 443 by default."""
    name, equals, address = text.partition("=")
    address = address if equals else name
    with suppress(ValueError):
        parts = urlsplit(f"//{address}")
        if parts.hostname and parts.netloc == address and not (parts.username or parts.password):
            return ProbeAddress(name, parts.hostname, 443 if parts.port is None else parts.port)
    raise ValueError(
        "must list addresses with ports, with or without a name, like "
        f"10.1.2.3:443,edge-1=[2001:db8::1]:443, not {text!r}."
    )


def resolver_address(text: str) -> ResolverAddress:
    """Returns the address of a DNS resolver, on port 53 by default."""
    host, port = text, str(_DNS_PORT)
    # An IPv6 address contains colons, so brackets enclose it before a port.
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", port)
    with suppress(ValueError):
        address = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
        return ResolverAddress(address, port_number(port))
    raise ValueError(
        f"must list IP addresses, with or without a port, like 9.9.9.9,[2620:fe::fe]:53, "
        f"not {text!r}."
    )


def roots(text: str) -> bytes:
    try:
        pem = Path(text).read_bytes()
        _require_certificates(pem)
    except OSError as error:
        raise ValueError(
            f"names a file that cannot be read: {error}. Check the path and its permissions."
        ) from None
    except ValueError as error:
        raise ValueError(
            f"names a file without usable certificates: {text}: {error}. Use certificates in PEM."
        ) from None
    return pem


@lru_cache(maxsize=4)
def _require_certificates(pem: bytes) -> None:
    # A slow import that most commands do not need.
    from cryptography import x509

    with warnings.catch_warnings():
        # Some public root certificates have serial numbers that RFC 5280 forbids.
        warnings.simplefilter("ignore")
        x509.load_pem_x509_certificates(pem)


def database_url(text: str) -> str:
    """Returns SQLAlchemy's URL of a PostgreSQL or SQLite database."""
    scheme, separator, rest = text.partition("://")
    host = re.split("[/?]", rest)[0].rpartition("@")[2]
    match scheme.removesuffix("+psycopg"):
        case "postgresql" | "postgres" if separator and _HOST_AND_PORT.fullmatch(host):
            return f"postgresql+psycopg://{rest}"
        case "sqlite" if rest.startswith("/") and rest not in ("/", "/:memory:"):
            return text
    raise ValueError(
        "must look like postgresql://user:password@host/name or sqlite:////absolute/path."
    )


def cache_url(text: str) -> str:
    # An error of urlsplit may quote a part of a password.
    with suppress(ValueError):
        parts = urlsplit(text)
        number = parts.path.strip("/")
        match parts.scheme:
            case "redis" | "rediss" if parts.port != 0 and (number.isdecimal() or not number):
                return text
            case "unix":
                return text
    raise ValueError("must look like redis://host:6379/0 (or rediss:// for TLS).")


def smtp_server(text: str) -> SmtpServer:
    # An error of urlsplit may quote a part of a password.
    with suppress(ValueError):
        parts = urlsplit(text)
        user, password = (
            unquote(part) if part else None for part in (parts.username, parts.password)
        )
        if parts.hostname and parts.path in ("", "/") and parts.port != 0 and not parts.fragment:
            match parts.scheme, parts.query:
                case "smtps", "":
                    return SmtpServer(parts.hostname, parts.port or 465, "implicit", user, password)
                case "smtp", "":
                    return SmtpServer(parts.hostname, parts.port or 587, "starttls", user, password)
                case "smtp", "tls=none" if not user:
                    return SmtpServer(parts.hostname, parts.port or 25, "none")
    raise ValueError(
        "must look like smtp://user:password@host:587 (with STARTTLS), smtps://user:password@host "
        "or, without a password, smtp://host:25?tls=none."
    )


def mail_sender(text: str) -> "Address":
    """Returns the address of the From header, with or without a name."""
    # A slow import that most commands do not need.
    from email.headerregistry import Address
    from email.utils import parseaddr

    name, address = parseaddr(text)
    user, _, domain = address.rpartition("@")
    if not (user and domain and address.isascii() and text.isprintable()):
        raise ValueError(
            "must look like certificates@example.com or Name <certificates@example.com>, "
            f"not {text!r}."
        )
    return Address(name, user, domain)


def master_key(text: str) -> MasterKeyAddress:
    kind, _, where = text.partition(":")
    match kind:
        case "file" if where.startswith("/"):
            return MasterKeyAddress("file", where)
        case "transit" if _is_key_url(where):
            return MasterKeyAddress("transit", where)
        case "aws-kms" if re.fullmatch("arn:[^:]+:kms:[^:]+:[0-9]+:(key|alias)/.+", where):
            return MasterKeyAddress("aws-kms", where)
    raise ValueError(
        "must look like file:/absolute/path, transit:https://host/key-name or "
        f"aws-kms:arn:aws:kms:…:key/…, not {text!r}."
    )


def _is_key_url(text: str) -> bool:
    """Returns whether `text` is the URL of a key, over HTTPS except on this machine."""
    with suppress(ValueError):
        parts = urlsplit(text)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        )
        return (
            is_safe
            and bool(parts.hostname)
            and bool(re.fullmatch(r"(/[A-Za-z0-9._-]+)+", parts.path))
            and not (parts.query or parts.fragment or parts.username)
        )
    return False
