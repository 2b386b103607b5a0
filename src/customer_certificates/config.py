"""The settings of the service: read from the environment once, validated and frozen."""

import base64
import ipaddress
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, TypeVar
from urllib.parse import unquote, urlsplit

import certifi

from .known_names import did_you_mean

if TYPE_CHECKING:
    from email.headerregistry import Address

Profile = Literal["lcl", "tst", "prd"]
Registration = Literal["operators", "open"]
UploadChecks = Literal["report", "enforce"]
HostnameProof = Literal["required", "preferred"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")

# argon2id, as (KiB of memory, passes, lanes): RFC 9106's second recommendation, and the minimum of
# OWASP's password storage cheat sheet.
RFC_9106_LOW_MEMORY = (65536, 3, 4)
LEAST_PASSWORD_COST = (19456, 2, 1)
DEFAULT_RATE = 1000
_DNS_PORT = 53
_HOST_AND_PORT = re.compile(r"([^:\[\]]*|\[[^\[\]]+\])(:[0-9]{1,5})?")
_HOSTNAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_PASSWORD_COSTS = {
    "lcl": RFC_9106_LOW_MEMORY,
    "tst": LEAST_PASSWORD_COST,
    "prd": RFC_9106_LOW_MEMORY,
}
SETTINGS = (
    "CC_ADMIN_ADDRESS",
    "CC_ALLOWED_CLIENTS",
    "CC_AUDIT_EXPORT_DIR",
    "CC_AUDIT_KEY",
    "CC_CACHE_URL",
    "CC_CA_BUNDLE",
    "CC_CHALLENGE_DOMAIN",
    "CC_DATABASE_OWNER_URL",
    "CC_DATABASE_URL",
    "CC_DATA_DIR",
    "CC_DNS_RESOLVERS",
    "CC_EDGE_TARGETS",
    "CC_ENV",
    "CC_HOST",
    "CC_HOSTNAME_PROOF",
    "CC_MAIL_FROM",
    "CC_MASTER_KEY",
    "CC_METRICS_PORT",
    "CC_PORT",
    "CC_PREVIOUS_MASTER_KEYS",
    "CC_PRIVATE_ROOTS_PROVE_NAMES",
    "CC_PROBE_ADDRESSES",
    "CC_PUBLIC_URL",
    "CC_RATE_LIMIT",
    "CC_REGISTRATION",
    "CC_RESERVED_HOSTNAMES",
    "CC_SMTP_URL",
    "CC_TERMINATOR_PEERS",
    "CC_THREADS",
    "CC_TLS_CERTIFICATE",
    "CC_TLS_KEY",
    "CC_TOKEN_IN_PATH",
    "CC_TRANSIT_TOKEN",
    "CC_TRUSTED_PROXIES",
    "CC_UPLOAD_CHECKS",
    "CC_WEBHOOK_ALLOWED_NETWORKS",
    "CC_WEBHOOK_SECRET",
    "CC_WEBHOOK_URL",
    "CC_WORKERS",
)


class ConfigError(Exception):
    """A setting is invalid. The message names it, and says why and what to do."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one process.

    Addresses and limits: `tls` names the files of the service's own certificate and key (None:
    plain HTTP). `admin_address` is the host and port for monitoring without authentication, or
    None. `trusted_proxies` are the proxies whose X-Forwarded-… headers count. `rate_limit` is in
    requests a second (0: no limit, None: the default). `terminator_peers` may use the Caddy
    endpoint without a token. With `token_in_path`, the path may contain a token. A separate worker
    serves metrics at `metrics_port` on `host` (None: no metrics).

    Storage: `database_url` is the database's URL for SQLAlchemy. Migrations use
    `database_owner_url`, whose role owns the tables. `cache_url` names a Redis (None: only the
    in-process cache). In `metrics_folder` the worker processes of one service share their counters.
    `password_cost` is argon2id's (KiB, passes, lanes).

    Certificates and hostnames: `roots_pem` has the trusted root certificates. Only roots that are
    also in `proving_roots_pem` prove hostnames. `hostname_proof` says whether hostnames are claimed
    without proof of control. Only operators grant `reserved_hostnames`, with all names below them,
    and `edge_targets`, the names and addresses of the servers that terminate TLS. `registration`
    says who may register users in prd. The worker probes `probe_addresses`. `dns_resolvers` answer
    DNS lookups (none: the system's do). The CNAME records of hostname challenges point below
    `challenge_domain` (None: challenges have no CNAME record).

    Notifications: `webhook_url` receives all events, signed with `webhook_secret`.
    `webhook_allowed_networks` are non-public ranges that webhooks may use. `smtp` sends email to
    users, from `mail_from` (None: no email). Links in emails begin with `public_url` (None: no
    links).

    Keys: `master_key` wraps data keys, and `previous_master_keys` unwrap older ones.
    `audit_key_pem` signs the audit log's heads (None: a key in `data_dir` does). The service
    exports the heads to `audit_export_dir` (None: no exports).
    """

    profile: Profile
    host: str
    port: int
    data_dir: Path
    database_url: str
    database_owner_url: str
    cache_url: str | None
    allowed_clients: tuple[Network, ...]
    workers: int
    threads: int
    password_cost: tuple[int, int, int]
    metrics_folder: Path | None
    upload_checks: UploadChecks
    roots_pem: bytes
    proving_roots_pem: bytes
    hostname_proof: HostnameProof
    reserved_hostnames: tuple[str, ...]
    edge_targets: tuple[str, ...]
    registration: Registration
    tls: tuple[Path, Path] | None
    admin_address: tuple[str, int] | None
    trusted_proxies: tuple[Network, ...]
    rate_limit: int | None
    webhook_allowed_networks: tuple[Network, ...]
    terminator_peers: tuple[Network, ...]
    token_in_path: bool
    probe_addresses: tuple[ProbeAddress, ...]
    webhook_url: str | None
    webhook_secret: str | None = field(repr=False)
    metrics_port: int | None
    smtp: SmtpServer | None
    public_url: str | None
    mail_from: "Address | None"
    audit_key_pem: bytes | None
    audit_export_dir: Path | None
    master_key: MasterKeyAddress
    previous_master_keys: tuple[MasterKeyAddress, ...]
    transit_token: str | None = field(repr=False)
    dns_resolvers: tuple[ResolverAddress, ...]
    challenge_domain: str | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Returns the settings in `environ`, by default the environment of the process.

        Raises ConfigError for the first invalid variable.
        """
        environ = os.environ if environ is None else environ
        _require_known(environ)
        profile = _read(environ, "CC_ENV", _profile, environ.get("env") or "lcl")
        host = _read(environ, "CC_HOST", _host, "127.0.0.1")
        if profile == "prd":
            _require_production(environ, host)
        _require_notify_secret(environ)
        smtp = _read(environ, "CC_SMTP_URL", _optional(_smtp_server), "")
        mail_from = _read(environ, "CC_MAIL_FROM", _optional(_sender), "")
        if (smtp is None) != (mail_from is None):
            raise ConfigError(
                "Only one of CC_SMTP_URL and CC_MAIL_FROM is set. Set both or neither."
            )
        data_dir = _read(environ, "CC_DATA_DIR", _folder, "var")
        metrics_folder = environ.get("PROMETHEUS_MULTIPROC_DIR")
        database_url = _read(
            environ,
            "CC_DATABASE_URL",
            _database_url,
            f"sqlite:///{data_dir / 'customer-certificates.sqlite3'}",
        )
        trusted_proxies = _read(environ, "CC_TRUSTED_PROXIES", _networks, "")
        terminator_peers = _read(environ, "CC_TERMINATOR_PEERS", _networks, "")
        _require_no_overlap(terminator_peers, trusted_proxies)
        roots_pem = _read(environ, "CC_CA_BUNDLE", _roots, certifi.where())
        all_roots_prove = _read(environ, "CC_PRIVATE_ROOTS_PROVE_NAMES", _flag, "false")
        return cls(
            profile=profile,
            host=host,
            port=_read(environ, "CC_PORT", _whole(1, 65535), "9000"),
            data_dir=data_dir,
            database_url=database_url,
            database_owner_url=_read(environ, "CC_DATABASE_OWNER_URL", _database_url, database_url),
            cache_url=_read(environ, "CC_CACHE_URL", _cache_url, ""),
            allowed_clients=_read(environ, "CC_ALLOWED_CLIENTS", _networks, ""),
            workers=_read(environ, "CC_WORKERS", _whole(1, 64), "2"),
            threads=_read(environ, "CC_THREADS", _whole(2, 64), "4"),
            password_cost=_PASSWORD_COSTS[profile],
            metrics_folder=Path(metrics_folder) if metrics_folder else None,
            upload_checks=_read(
                environ,
                "CC_UPLOAD_CHECKS",
                _upload_checks,
                "enforce" if profile == "prd" else "report",
            ),
            roots_pem=roots_pem,
            proving_roots_pem=roots_pem if all_roots_prove else _roots(certifi.where()),
            hostname_proof=_read(
                environ,
                "CC_HOSTNAME_PROOF",
                _hostname_proof,
                "required" if profile == "prd" else "preferred",
            ),
            reserved_hostnames=_read(environ, "CC_RESERVED_HOSTNAMES", _hostnames, ""),
            edge_targets=_read(environ, "CC_EDGE_TARGETS", _hostnames, ""),
            registration=_read(environ, "CC_REGISTRATION", _registration, "operators"),
            tls=_tls(environ),
            admin_address=_read(environ, "CC_ADMIN_ADDRESS", _optional(_host_and_port), ""),
            trusted_proxies=trusted_proxies,
            rate_limit=_read(environ, "CC_RATE_LIMIT", _optional(_whole(0, 1_000_000)), ""),
            webhook_allowed_networks=_read(
                environ,
                "CC_WEBHOOK_ALLOWED_NETWORKS",
                _networks,
                "" if profile == "prd" else "127.0.0.0/8,::1",
            ),
            terminator_peers=terminator_peers,
            token_in_path=_read(environ, "CC_TOKEN_IN_PATH", _flag, "false"),
            probe_addresses=_read(environ, "CC_PROBE_ADDRESSES", _probe_addresses, ""),
            webhook_url=_read(environ, "CC_WEBHOOK_URL", _optional(_notify_url), ""),
            webhook_secret=_read(environ, "CC_WEBHOOK_SECRET", _optional(_notify_secret), ""),
            metrics_port=_read(environ, "CC_METRICS_PORT", _optional(_whole(1, 65535)), ""),
            smtp=smtp,
            mail_from=mail_from,
            public_url=_read(environ, "CC_PUBLIC_URL", _optional(_public_url(profile)), ""),
            audit_key_pem=_read(environ, "CC_AUDIT_KEY", _audit_key, ""),
            audit_export_dir=_read(environ, "CC_AUDIT_EXPORT_DIR", _folder_if_any, ""),
            master_key=_read(environ, "CC_MASTER_KEY", _master_key(data_dir / "master-key"), ""),
            previous_master_keys=_read(environ, "CC_PREVIOUS_MASTER_KEYS", _master_keys, ""),
            transit_token=_read(environ, "CC_TRANSIT_TOKEN", str, "") or None,
            dns_resolvers=_read(environ, "CC_DNS_RESOLVERS", _resolvers, ""),
            challenge_domain=_read(environ, "CC_CHALLENGE_DOMAIN", _optional(_domain), ""),
        )

    @property
    def asks_credentials(self) -> bool:
        """Whether clients need a token. If not, only local and trusted clients are served."""
        return self.profile == "prd"

    @property
    def mails_links(self) -> bool:
        """Whether users get emails with links that verify their addresses."""
        return self.smtp is not None and self.public_url is not None

    @property
    def own_addresses(self) -> tuple[Network, ...]:
        """The service's own addresses, besides those of this machine."""
        return (ipaddress.ip_network(self.host), *self.trusted_proxies)

    @property
    def children(self) -> int:
        """The number of processes that validate uploads for one worker: half of its threads."""
        return self.threads // 2

    @property
    def requests_a_second(self) -> int:
        """The rate limit of each client; 0: no limit, the default without authentication."""
        if self.rate_limit is None:
            return DEFAULT_RATE if self.asks_credentials else 0
        return self.rate_limit

    @property
    def most_connections(self) -> int:
        """The largest number of connections of one worker."""
        return 512

    @property
    def address(self) -> str:
        """The URL of the service for users on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


def share_metrics(folder: Path) -> None:
    """Makes processes that start later write their metrics to `folder`.

    Call this before prometheus-client is imported, which reads the variable then.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def uncounted() -> dict[str, str]:
    """Returns an environment for a process whose metrics are not shared."""
    return {name: of for name, of in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}


def _read(environ: Mapping[str, str], name: str, parse: Callable[[str], T], default: str) -> T:
    """Returns the parsed setting `name`.

    Reads it from the variable, or from the file in `name`_FILE.
    """
    text, source = environ.get(name), name
    if path := environ.get(f"{name}_FILE"):
        if text:
            raise ConfigError(f"{name} and {name}_FILE are both set. Remove one of them.")
        source = f"{name}_FILE={path}"
        try:
            text = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source} cannot be read: {error}.") from error
        if not text:
            raise ConfigError(f"{source} names an empty file. Write the setting to the file.")
    try:
        return parse(text or default)
    except ValueError as error:
        raise ConfigError(f"{source} {error}") from None


def _require_known(environ: Mapping[str, str]) -> None:
    """Raises ConfigError if a variable has the settings' prefix but is not a setting."""
    files = [f"{name}_FILE" for name in SETTINGS]
    unknown = sorted(
        name
        for name in environ
        if name.startswith("CC_") and name not in SETTINGS and name not in files
    )
    sentences = []
    for name in unknown:
        advice = did_you_mean(name, files if name.endswith("_FILE") else SETTINGS)
        sentences.append(f"{name} is not a setting.{advice or ' Remove it.'}")
    if sentences:
        raise ConfigError(f"{' '.join(sentences)} docs/reference/settings.md lists all settings.")


def _tls(environ: Mapping[str, str]) -> tuple[Path, Path] | None:
    certificate = _read(environ, "CC_TLS_CERTIFICATE", _optional(_path), "")
    key = _read(environ, "CC_TLS_KEY", _optional(_path), "")
    if certificate and key:
        return certificate, key
    if certificate or key:
        raise ConfigError(
            "Only one of CC_TLS_CERTIFICATE and CC_TLS_KEY is set. Set both or neither."
        )
    return None


def _optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    return lambda text: parse(text) if text else None


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _profile(text: str) -> Profile:
    match text:
        case "lcl" | "tst" | "prd":
            return text
    raise ValueError(f"must be lcl, tst or prd, not {text!r}.")


def _require_notify_secret(environ: Mapping[str, str]) -> None:
    url, secret = (
        bool(environ.get(name) or environ.get(f"{name}_FILE"))
        for name in ("CC_WEBHOOK_URL", "CC_WEBHOOK_SECRET")
    )
    if url != secret:
        raise ConfigError(
            "Only one of CC_WEBHOOK_URL and CC_WEBHOOK_SECRET is set. Set both or neither. "
            "To create a secret, run: echo whsec_$(openssl rand -base64 32)"
        )


def _public_url(profile: Profile) -> Callable[[str], str]:
    schemes = ("https",) if profile == "prd" else ("https", "http")

    def parse(text: str) -> str:
        # An error of urlsplit may quote a part of a password.
        with suppress(ValueError):
            parts = urlsplit(text)
            path = parts.path.rstrip("/")
            if (
                text.isascii()
                and text.isprintable()
                and parts.scheme in schemes
                and parts.hostname
                and parts.port != 0
                and parts.netloc == parts.netloc.rpartition("@")[2]
                and re.fullmatch(r"[A-Za-z0-9.:\[\]_-]{1,255}", parts.netloc)
                and re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path)
                and not (parts.query or parts.fragment)
            ):
                return f"{parts.scheme}://{parts.netloc}{path}"
        raise ValueError(
            f"must be the URL of the service for users ({' or '.join(schemes)}), like "
            "https://certificates.example.com, without a user, a query or a fragment."
        )

    return parse


def _notify_url(text: str) -> str:
    if not re.fullmatch(r"https?://[!-~]{1,1990}", text):
        raise ValueError(f"must look like https://hooks.example.com/path, not {text!r}.")
    return text


def _notify_secret(text: str) -> str:
    encoded = text.removeprefix("whsec_")
    try:
        is_long_enough = len(base64.b64decode(encoded, validate=True)) >= 24
    except ValueError:
        is_long_enough = False
    if encoded == text or not is_long_enough:
        raise ValueError(
            "must be whsec_ and 24 to 64 bytes in base64 (Standard Webhooks). "
            "To create one, run: echo whsec_$(openssl rand -base64 32)"
        )
    return text


def _require_production(environ: Mapping[str, str], host: str) -> None:
    """Raises ConfigError if a setting that prd requires is missing."""

    def is_set(name: str) -> bool:
        return bool(environ.get(name) or environ.get(f"{name}_FILE"))

    if not is_set("CC_DATABASE_URL"):
        raise ConfigError(
            "CC_DATABASE_URL is not set, and the profile prd has no default database. Set it to "
            "postgresql://user:password@host/name, or to sqlite:////absolute/path on a single host."
        )
    if not is_set("CC_MASTER_KEY"):
        raise ConfigError(
            "CC_MASTER_KEY is not set. The profile prd needs it to encrypt private keys. To create "
            "one, run: customer-certificates keys init FILE"
        )
    tls = is_set("CC_TLS_CERTIFICATE") and is_set("CC_TLS_KEY")
    if not (tls or is_set("CC_TRUSTED_PROXIES") or ipaddress.ip_address(host).is_loopback):
        raise ConfigError(
            f"CC_HOST={host} would be served without TLS. In the profile prd, set "
            "CC_TLS_CERTIFICATE and CC_TLS_KEY. If a proxy terminates TLS, set CC_TRUSTED_PROXIES. "
            "Otherwise listen on 127.0.0.1."
        )


def _require_no_overlap(terminators: Sequence[Network], proxies: Sequence[Network]) -> None:
    """Raises ConfigError if an address belongs to a proxy and to a terminator."""
    for terminator in terminators:
        for proxy in proxies:
            if terminator.version == proxy.version and terminator.overlaps(proxy):
                raise ConfigError(
                    f"CC_TERMINATOR_PEERS has {terminator}, CC_TRUSTED_PROXIES has {proxy}. "
                    "They overlap: every client of the proxy could fetch private keys without a "
                    "token. "
                    "Use a token for terminators behind the proxy."
                )


def _folder(text: str) -> Path:
    if "?" in text:
        raise ValueError(f"must not contain a question mark: {text!r}.")
    return Path(text).expanduser().absolute()


def _folder_if_any(text: str) -> Path | None:
    return _folder(text) if text else None


def _audit_key(text: str) -> bytes | None:
    if not text:
        return None
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


def _host(text: str) -> str:
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(
            f"must be an IP address to listen on, like 127.0.0.1 or 0.0.0.0, not {text!r}."
        ) from None


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return _host(host.strip("[]")), _whole(1, 65535)(port)
    except ValueError:
        raise ValueError(
            f"must be an IP address and a port, like 127.0.0.1:9001 or [::1]:9001, not {text!r}."
        ) from None


def _registration(text: str) -> Registration:
    match text:
        case "operators" | "open":
            return text
    raise ValueError(f"must be operators or open (anyone may register), not {text!r}.")


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"must be true or false, not {text!r}.")
    return text == "true"


def _upload_checks(text: str) -> UploadChecks:
    match text:
        case "report" | "enforce":
            return text
    raise ValueError(
        f"must be report (store with findings) or enforce (reject errors), not {text!r}."
    )


def _hostname_proof(text: str) -> HostnameProof:
    match text:
        case "required" | "preferred":
            return text
    raise ValueError(
        "must be required (activate hostnames only with proof of control) or preferred "
        f"(also without), not {text!r}."
    )


def _hostnames(text: str) -> tuple[str, ...]:
    return tuple(_hostname(part.strip()) for part in text.split(",") if part.strip())


def _hostname(text: str) -> str:
    with suppress(ValueError):
        return str(ipaddress.ip_address(text))
    name = text.lower().removesuffix(".")
    if len(name) > 253 or not _HOSTNAME.fullmatch(name):
        raise ValueError(
            "must list hostnames (international ones as xn--…) or IP addresses, like "
            f"edge.example.com,192.0.2.1, not {text!r}."
        )
    return name


def _roots(text: str) -> bytes:
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


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 9 and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}, not {text!r}.")
        return int(text)

    return parse


def _database_url(text: str) -> str:
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


def _cache_url(text: str) -> str | None:
    if not text:
        return None
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


def _smtp_server(text: str) -> SmtpServer:
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


def _sender(text: str) -> "Address":
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


def _master_key(made_at: Path) -> Callable[[str], MasterKeyAddress]:
    def parse(text: str) -> MasterKeyAddress:
        return _address(text) if text else MasterKeyAddress("file", str(made_at), may_be_made=True)

    return parse


def _master_keys(text: str) -> tuple[MasterKeyAddress, ...]:
    return tuple(_address(part.strip()) for part in text.split(",") if part.strip())


def _address(text: str) -> MasterKeyAddress:
    kind, _, where = text.partition(":")
    match kind:
        case "file" if where.startswith("/"):
            return MasterKeyAddress("file", where)
        case "transit" if _is_key_url(where):
            return MasterKeyAddress("transit", where)
        case "aws-kms" if re.fullmatch("arn:[^:]+:kms:[^:]+:[0-9]+:(key|alias)/.+", where):
            return MasterKeyAddress("aws-kms", where)
    raise ValueError(
        f"must look like file:/absolute/path, transit:https://host/key-name or "
        f"aws-kms:arn:aws:kms:…:key/…, not {text!r}."
    )


def _is_key_url(text: str) -> bool:
    """Returns whether `text` is the URL of a key, over HTTPS except on this machine."""
    with suppress(ValueError):
        parts = urlsplit(text)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        )
        names = r"(/[A-Za-z0-9._-]+)+"
        return (
            is_safe
            and bool(parts.hostname)
            and bool(re.fullmatch(names, parts.path))
            and not (parts.query or parts.fragment or parts.username)
        )
    return False


def _probe_addresses(text: str) -> tuple[ProbeAddress, ...]:
    return tuple(_probe_address(part.strip()) for part in text.split(",") if part.strip())


def _probe_address(text: str) -> ProbeAddress:
    name, equals, address = text.partition("=")
    address = address if equals else name
    with suppress(ValueError):
        parts = urlsplit(f"//{address}")
        if parts.hostname and parts.netloc == address and not (parts.username or parts.password):
            return ProbeAddress(name, parts.hostname, 443 if parts.port is None else parts.port)
    raise ValueError(
        f"must list addresses with ports, with or without a name, like "
        f"10.1.2.3:443,edge-1=[2001:db8::1]:443, not {text!r}."
    )


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(
            f"must list addresses or ranges, like 10.1.2.0/24,10.1.3.4: {error}."
        ) from None


def _resolvers(text: str) -> tuple[ResolverAddress, ...]:
    return tuple(_resolver(part.strip()) for part in text.split(",") if part.strip())


def _resolver(text: str) -> ResolverAddress:
    host, port = text, str(_DNS_PORT)
    # An IPv6 address contains colons, so brackets enclose it before a port.
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", port)
    with suppress(ValueError):
        address = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
        return ResolverAddress(address, _whole(1, 65535)(port))
    raise ValueError(
        f"must list IP addresses, with or without a port, like 9.9.9.9,[2620:fe::fe]:53, "
        f"not {text!r}."
    )


def _domain(text: str) -> str:
    name = text.lower().removesuffix(".")
    label = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
    # The service prepends a label of 32 characters and a dot.
    if not re.fullmatch(rf"({label}\.)+(?![0-9]+$){label}", name) or len(name) > 253 - 33:
        raise ValueError(f"must be a domain name, like challenges.example.net, not {text!r}.")
    return name
