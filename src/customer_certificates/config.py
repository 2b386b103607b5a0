"""The settings of the service: read from the environment once, validated and frozen."""

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeVar, cast

import certifi

from . import setting_parsers as parse
from .known_names import did_you_mean
from .setting_parsers import MasterKeyAddress, Network, ProbeAddress, ResolverAddress, SmtpServer

if TYPE_CHECKING:
    from email.headerregistry import Address

Profile = Literal["lcl", "tst", "prd"]
Registration = Literal["operators", "open"]
UploadChecks = Literal["report", "enforce"]
HostnameProof = Literal["required", "preferred"]
T = TypeVar("T")

# argon2id, as (KiB of memory, passes, lanes): RFC 9106's second recommendation, and the minimum of
# OWASP's password storage cheat sheet.
RFC_9106_LOW_MEMORY = (65536, 3, 4)
LEAST_PASSWORD_COST = (19456, 2, 1)
DEFAULT_RATE = 1000
_PASSWORD_COSTS = {
    "lcl": RFC_9106_LOW_MEMORY,
    "tst": LEAST_PASSWORD_COST,
    "prd": RFC_9106_LOW_MEMORY,
}
_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# Settings of which either both are set, or neither.
_PAIRS = (
    ("CC_SMTP_URL", "CC_MAIL_FROM", ""),
    ("CC_TLS_CERTIFICATE", "CC_TLS_KEY", ""),
    (
        "CC_WEBHOOK_URL",
        "CC_WEBHOOK_SECRET",
        " To create a secret, run: echo whsec_$(openssl rand -base64 32)",
    ),
)

# The values of the fields before a field, by their names.
_Values = Mapping[str, Any]


class ConfigError(Exception):
    """A setting is invalid. The message names it, and says why and what to do."""


class _Setting(NamedTuple):
    """A variable and its parser. `default` is a text for the parser, or depends on `_Values`."""

    name: str
    parser: Callable[[str], Any]
    default: str | Callable[[_Values], str]

    def read(self, environ: Mapping[str, str], values: _Values) -> Any:
        default = self.default if isinstance(self.default, str) else self.default(values)
        return _read(environ, self.name, self.parser, default)


def _setting(
    name: str,
    parser: Callable[[str], T],
    default: str | Callable[[_Values], str] = "",
    *,
    is_secret: bool = False,
) -> T:
    """Returns the dataclass field of a setting."""
    setting = _Setting(name, parser, default)
    return cast("T", field(metadata={"setting": setting}, repr=not is_secret))


def _optional(name: str, parser: Callable[[str], T], *, is_secret: bool = False) -> T | None:
    """Returns the field of a setting that is None by default."""
    return _setting(name, lambda text: parser(text) if text else None, is_secret=is_secret)


def _listed(
    name: str, parser: Callable[[str], T], default: str | Callable[[_Values], str] = ""
) -> tuple[T, ...]:
    """Returns the field of a list that is separated by commas."""

    def parse_all(text: str) -> tuple[T, ...]:
        return tuple(parser(part.strip()) for part in text.split(",") if part.strip())

    return _setting(name, parse_all, default)


def _by_profile(production: str, otherwise: str) -> Callable[[_Values], str]:
    return lambda values: production if values["profile"] == "prd" else otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one process. docs/reference/settings.md explains each of them.

    `profile` comes from CC_ENV, and `password_cost` (argon2id's KiB, passes, lanes) from the
    profile. In `metrics_folder` the worker processes of one service share their counters (None:
    there is one process). `database_url` and `database_owner_url` are URLs for SQLAlchemy.
    """

    profile: Profile
    password_cost: tuple[int, int, int]
    metrics_folder: Path | None

    host: str = _setting("CC_HOST", parse.host_address, "127.0.0.1")
    port: int = _setting("CC_PORT", parse.port_number, "9000")
    tls_certificate: Path | None = _optional("CC_TLS_CERTIFICATE", parse.absolute_path)
    tls_key: Path | None = _optional("CC_TLS_KEY", parse.absolute_path)
    admin_address: tuple[str, int] | None = _optional("CC_ADMIN_ADDRESS", parse.host_and_port)
    metrics_port: int | None = _optional("CC_METRICS_PORT", parse.port_number)
    workers: int = _setting("CC_WORKERS", parse.whole(1, 64), "2")
    threads: int = _setting("CC_THREADS", parse.whole(2, 64), "4")
    rate_limit: int | None = _optional("CC_RATE_LIMIT", parse.whole(0, 1_000_000))
    allowed_clients: tuple[Network, ...] = _listed("CC_ALLOWED_CLIENTS", parse.network)
    trusted_proxies: tuple[Network, ...] = _listed("CC_TRUSTED_PROXIES", parse.network)
    terminator_peers: tuple[Network, ...] = _listed("CC_TERMINATOR_PEERS", parse.network)
    token_in_path: bool = _setting("CC_TOKEN_IN_PATH", parse.flag, "false")
    registration: Registration = _setting(
        "CC_REGISTRATION",
        parse.choice(Registration, "operators or open (anyone may register)"),
        "operators",
    )

    data_dir: Path = _setting("CC_DATA_DIR", parse.folder, "var")
    database_url: str = _setting(
        "CC_DATABASE_URL",
        parse.database_url,
        lambda values: f"sqlite:///{values['data_dir'] / 'customer-certificates.sqlite3'}",
    )
    database_owner_url: str = _setting(
        "CC_DATABASE_OWNER_URL", parse.database_url, lambda values: values["database_url"]
    )
    cache_url: str | None = _optional("CC_CACHE_URL", parse.cache_url)

    upload_checks: UploadChecks = _setting(
        "CC_UPLOAD_CHECKS",
        parse.choice(UploadChecks, "report (store with findings) or enforce (reject errors)"),
        _by_profile("enforce", "report"),
    )
    roots_pem: bytes = _setting("CC_CA_BUNDLE", parse.roots, certifi.where())
    private_roots_prove_names: bool = _setting("CC_PRIVATE_ROOTS_PROVE_NAMES", parse.flag, "false")
    hostname_proof: HostnameProof = _setting(
        "CC_HOSTNAME_PROOF",
        parse.choice(
            HostnameProof,
            "required (activate hostnames only with proof of control) or preferred (also without)",
        ),
        _by_profile("required", "preferred"),
    )
    reserved_hostnames: tuple[str, ...] = _listed("CC_RESERVED_HOSTNAMES", parse.hostname)
    edge_targets: tuple[str, ...] = _listed("CC_EDGE_TARGETS", parse.hostname)
    dns_resolvers: tuple[ResolverAddress, ...] = _listed("CC_DNS_RESOLVERS", parse.resolver_address)
    challenge_domain: str | None = _optional("CC_CHALLENGE_DOMAIN", parse.challenge_domain)
    probe_addresses: tuple[ProbeAddress, ...] = _listed("CC_PROBE_ADDRESSES", parse.probe_address)

    webhook_url: str | None = _optional("CC_WEBHOOK_URL", parse.webhook_url)
    webhook_secret: str | None = _optional(
        "CC_WEBHOOK_SECRET", parse.webhook_secret, is_secret=True
    )
    webhook_allowed_networks: tuple[Network, ...] = _listed(
        "CC_WEBHOOK_ALLOWED_NETWORKS", parse.network, _by_profile("", "127.0.0.0/8,::1")
    )
    smtp: SmtpServer | None = _optional("CC_SMTP_URL", parse.smtp_server)
    mail_from: "Address | None" = _optional("CC_MAIL_FROM", parse.mail_sender)
    public_url: str | None = _optional("CC_PUBLIC_URL", parse.public_url)
    console_return_origins: tuple[str, ...] = _listed("CC_CONSOLE_RETURN_ORIGINS", parse.origin)
    console_frame_origins: tuple[str, ...] = _listed("CC_CONSOLE_FRAME_ORIGINS", parse.origin)

    audit_key_pem: bytes | None = _optional("CC_AUDIT_KEY", parse.ed25519_key)
    audit_export_dir: Path | None = _optional("CC_AUDIT_EXPORT_DIR", parse.folder)
    configured_master_key: MasterKeyAddress | None = _optional("CC_MASTER_KEY", parse.master_key)
    previous_master_keys: tuple[MasterKeyAddress, ...] = _listed(
        "CC_PREVIOUS_MASTER_KEYS", parse.master_key
    )
    transit_token: str | None = _optional("CC_TRANSIT_TOKEN", str, is_secret=True)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Returns the settings in `environ`, by default the environment of the process.

        Raises ConfigError for the first invalid variable.
        """
        environ = os.environ if environ is None else environ
        _require_known(environ)
        choose_profile = parse.choice(Profile, "lcl, tst or prd")
        profile = _read(environ, "CC_ENV", choose_profile, environ.get("env") or "lcl")
        folder = environ.get(_METRICS_VARIABLE)
        values: dict[str, Any] = {
            "profile": profile,
            "password_cost": _PASSWORD_COSTS[profile],
            "metrics_folder": Path(folder) if folder else None,
        }
        for setting_field in fields(cls):
            if setting := setting_field.metadata.get("setting"):
                values[setting_field.name] = setting.read(environ, values)
        config = cls(**values)
        if profile == "prd":
            config._require_production(environ)
        for first, second, advice in _PAIRS:
            if _is_set(environ, first) != _is_set(environ, second):
                raise ConfigError(
                    f"Only one of {first} and {second} is set. Set both or neither.{advice}"
                )
        config._require_no_overlap()
        return config

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """The files of the service's own certificate and key; None: plain HTTP."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return self.tls_certificate, self.tls_key

    @property
    def master_key(self) -> MasterKeyAddress:
        """The master key that wraps data keys."""
        default = MasterKeyAddress("file", str(self.data_dir / "master-key"), may_be_made=True)
        return self.configured_master_key or default

    @property
    def proving_roots_pem(self) -> bytes:
        """The root certificates that prove hostnames, if they are also in `roots_pem`."""
        if self.private_roots_prove_names:
            return self.roots_pem
        return Path(certifi.where()).read_bytes()

    @property
    def asks_credentials(self) -> bool:
        """Whether clients need a token. If not, only local and trusted clients are served."""
        return self.profile == "prd"

    @property
    def mails_links(self) -> bool:
        """Whether users get emails with links that verify their addresses."""
        return self.smtp is not None and self.public_url is not None

    @property
    def public_origin(self) -> str | None:
        """The scheme, host and port of `public_url`: the console is at the root of that host."""
        return "/".join(self.public_url.split("/")[:3]) if self.public_url else None

    @property
    def own_addresses(self) -> tuple[Network, ...]:
        """The service's own addresses, besides those of this machine."""
        return (ipaddress.ip_network(self.host), *self.trusted_proxies)

    @property
    def sandbox_processes(self) -> int:
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

    def _require_production(self, environ: Mapping[str, str]) -> None:
        """Raises ConfigError if a setting that prd requires is missing."""
        if not _is_set(environ, "CC_DATABASE_URL"):
            raise ConfigError(
                "CC_DATABASE_URL is not set, and the profile prd has no default database. Set it "
                "to postgresql://user:password@host/name, or to sqlite:////absolute/path on a "
                "single host."
            )
        if self.configured_master_key is None:
            raise ConfigError(
                "CC_MASTER_KEY is not set. The profile prd needs it to encrypt private keys. To "
                "create one, run: customer-certificates keys init FILE"
            )
        if not (self.tls or self.trusted_proxies or ipaddress.ip_address(self.host).is_loopback):
            raise ConfigError(
                f"CC_HOST={self.host} would be served without TLS. In the profile prd, set "
                "CC_TLS_CERTIFICATE and CC_TLS_KEY. If a proxy terminates TLS, set "
                "CC_TRUSTED_PROXIES. Otherwise listen on 127.0.0.1."
            )
        if self.public_url and not self.public_url.startswith("https:"):
            raise ConfigError("CC_PUBLIC_URL must begin with https:// in the profile prd.")

    def _require_no_overlap(self) -> None:
        """Raises ConfigError if an address belongs to a proxy and to a terminator."""
        for terminator in self.terminator_peers:
            for proxy in self.trusted_proxies:
                if terminator.version == proxy.version and terminator.overlaps(proxy):
                    raise ConfigError(
                        f"CC_TERMINATOR_PEERS has {terminator}, CC_TRUSTED_PROXIES has {proxy}. "
                        "They overlap: every client of the proxy could fetch private keys without "
                        "a token. Use a token for terminators behind the proxy."
                    )


SETTINGS = ("CC_ENV", *(item.metadata["setting"].name for item in fields(Config) if item.metadata))


def share_metrics(folder: Path) -> None:
    """Names the folder for the metrics of this process and of those that it starts."""
    os.environ[_METRICS_VARIABLE] = str(folder)


def uncounted() -> dict[str, str]:
    """Returns an environment for a process whose metrics are not shared."""
    return {name: value for name, value in os.environ.items() if name != _METRICS_VARIABLE}


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return bool(environ.get(name) or environ.get(f"{name}_FILE"))


def _read(environ: Mapping[str, str], name: str, parser: Callable[[str], T], default: str) -> T:
    """Returns the parsed setting `name`, from the variable or from the file in `name`_FILE."""
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
        return parser(text or default)
    except ValueError as error:
        raise ConfigError(f"{source} {error}") from None


def _require_known(environ: Mapping[str, str]) -> None:
    """Raises ConfigError if a variable has the settings' prefix but is not a setting."""
    files = [f"{name}_FILE" for name in SETTINGS]
    prefixed = {name for name in environ if name.startswith("CC_")}
    sentences = []
    for name in sorted(prefixed.difference(SETTINGS, files)):
        advice = did_you_mean(name, files if name.endswith("_FILE") else SETTINGS)
        sentences.append(f"{name} is not a setting.{advice or ' Remove it.'}")
    if sentences:
        raise ConfigError(f"{' '.join(sentences)} docs/reference/settings.md lists all settings.")
