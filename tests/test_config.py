"""Settings: defaults, parsing, and error messages."""

import re
from pathlib import Path
from typing import Any

import pytest

from customer_certificates.config import (
    LEAST_PASSWORD_COST,
    RFC_9106_LOW_MEMORY,
    SETTINGS,
    Config,
    ConfigError,
)
from customer_certificates.setting_parsers import SmtpServer

from .factories import a_pair

RSA_KEY = a_pair(key="RSA-2048").key_pem.decode()


def test_all_settings_have_defaults() -> None:
    config = Config.from_environ({})

    assert (config.profile, config.host, config.port) == ("lcl", "127.0.0.1", 9000)
    assert (
        config.database_url == f"sqlite:///{Path('var/customer-certificates.sqlite3').absolute()}"
    )
    assert config.cache_url is None
    assert (config.audit_key_pem, config.audit_export_dir) == (None, None)
    assert config.password_cost == RFC_9106_LOW_MEMORY


def test_every_setting_is_documented() -> None:
    root = Path(__file__).parent.parent
    source = (root / "src/customer_certificates/config.py").read_text()
    documented = (root / "docs/reference/settings.md").read_text()

    settings = set(re.findall(r'"(CC_[A-Z_]+)"', source))
    assert len(settings) > 30
    assert sorted(name for name in settings if f"`{name}`" not in documented) == []


class RecordingEnviron(dict[str, str]):
    """An environment that records which variables are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def test_every_listed_setting_is_read() -> None:
    environ = RecordingEnviron()

    Config.from_environ(environ)

    read = {name for name in environ.read if name.startswith("CC_")}
    assert {name.removesuffix("_FILE") for name in read} == {*SETTINGS}


@pytest.mark.parametrize(
    ("variable", "advice"),
    [
        ("CC_DATABSE_URL", "Did you mean CC_DATABASE_URL?"),
        ("CC_DATABSE_URL_FILE", "Did you mean CC_DATABASE_URL_FILE?"),
        ("CC_MASTERKEY", "Did you mean CC_MASTER_KEY?"),
        ("CC_XYZ", "Remove it."),
    ],
)
def test_an_unknown_setting_stops_the_start(variable: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_environ({"CC_ENV": "prd", variable: "hunter2"})

    sentence = f"{variable} is not a setting. {advice}"
    assert str(caught.value) == f"{sentence} docs/reference/settings.md lists all settings."


def test_all_unknown_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"CC_HOSTS is not.*CC_PROT is not"):
        Config.from_environ({"CC_PROT": "9000", "CC_HOSTS": "::1", "CCC": "", "env": "lcl"})


def test_the_profile_comes_from_either_variable() -> None:
    assert Config.from_environ({"env": "tst"}).profile == "tst"
    assert Config.from_environ({"env": "nonsense", "CC_ENV": "tst"}).profile == "tst"
    assert Config.from_environ({"CC_ENV": "tst"}).password_cost == LEAST_PASSWORD_COST


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_common_schemes_of_postgresql_are_accepted(scheme: str) -> None:
    config = Config.from_environ({"CC_DATABASE_URL": f"{scheme}://u:p@h/d"})

    assert config.database_url == "postgresql+psycopg://u:p@h/d"


def test_a_setting_can_be_read_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:p@h/d\n")

    config = Config.from_environ({"CC_DATABASE_URL_FILE": str(secret)})

    assert config.database_url == "postgresql+psycopg://u:p@h/d"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:9000"),
        ("::", "http://[::1]:9000"),
        ("localhost", "http://127.0.0.1:9000"),
        ("192.0.2.7", "http://192.0.2.7:9000"),
    ],
)
def test_the_shown_address_can_be_opened_in_a_browser(host: str, address: str) -> None:
    assert Config.from_environ({"CC_HOST": host}).address == address


@pytest.mark.parametrize(
    ("terminators", "proxies"),
    [
        ("10.1.2.0/24", "10.1.2.7"),
        ("10.1.2.7", "10.0.0.0/8"),
        ("192.0.2.1,2001:db8::7", "2001:db8::/64"),
    ],
)
def test_proxies_and_terminator_peers_must_not_overlap(terminators: str, proxies: str) -> None:
    with pytest.raises(ConfigError, match="CC_TERMINATOR_PEERS"):
        Config.from_environ({"CC_TERMINATOR_PEERS": terminators, "CC_TRUSTED_PROXIES": proxies})

    Config.from_environ({"CC_TERMINATOR_PEERS": "192.0.2.0/24", "CC_TRUSTED_PROXIES": proxies})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CC_ENV", "staging"),
        ("CC_REGISTRATION", "everybody"),
        ("CC_PORT", "http"),
        ("CC_PORT", "65536"),
        ("CC_PORT", "9" * 5000),
        ("CC_HOST", "example.com"),
        ("CC_WORKERS", "0"),
        ("CC_THREADS", "1"),
        ("CC_DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("CC_DATABASE_URL", "sqlite://"),
        ("CC_DATABASE_URL", "sqlite:///:memory:"),
        ("CC_DATABASE_URL", "hunter2"),
        ("CC_CACHE_URL", "memcached://hunter2"),
        ("CC_ALLOWED_CLIENTS", "10.0.0.1/8"),
        ("CC_ALLOWED_CLIENTS", "everybody"),
        ("CC_TERMINATOR_PEERS", "10.0.0.1/8"),
        ("CC_TOKEN_IN_PATH", "yes"),
        ("CC_PROBE_ADDRESSES", "edge-1=10.1.2.3:99999"),
        ("CC_PROBE_ADDRESSES", "https://10.1.2.3/"),
        ("CC_PROBE_ADDRESSES", "edge-1="),
        ("CC_DNS_RESOLVERS", "dns.example.net"),
        ("CC_DNS_RESOLVERS", "9.9.9.9:0"),
        ("CC_DNS_RESOLVERS", "[2620:fe::fe]:"),
        ("CC_CHALLENGE_DOMAIN", "localhost"),
        ("CC_CHALLENGE_DOMAIN", "192.0.2.1"),
        ("CC_CHALLENGE_DOMAIN", "*.example.net"),
        ("CC_CHALLENGE_DOMAIN", ".".join(["a" * 60] * 4)),
        ("CC_AUDIT_KEY", "hunter2"),
        ("CC_AUDIT_KEY", RSA_KEY),
        ("CC_AUDIT_EXPORT_DIR", "what?"),
    ],
)
def test_an_invalid_setting_is_named_without_its_secret(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable) as caught:
        Config.from_environ({variable: value})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("", ()),
        ("10.1.2.3", [("10.1.2.3", "10.1.2.3", 443)]),
        (
            "a.internal:8443, [::1]:444",
            [("a.internal:8443", "a.internal", 8443), ("[::1]:444", "::1", 444)],
        ),
        ("edge-1=[2001:db8::1]", [("edge-1", "2001:db8::1", 443)]),
    ],
)
def test_probe_addresses_may_have_names(text: str, addresses: list[tuple[str, str, int]]) -> None:
    config = Config.from_environ({"CC_PROBE_ADDRESSES": text})

    assert config.probe_addresses == tuple(addresses)


def test_resolvers_may_have_ports() -> None:
    text = "9.9.9.9, 127.0.0.1:5353,2620:fe::fe,[2620:fe::9]:54,[2620:fe::10]"

    resolvers = Config.from_environ({"CC_DNS_RESOLVERS": text}).dns_resolvers

    assert [*resolvers] == [
        ("9.9.9.9", 53),
        ("127.0.0.1", 5353),
        ("2620:fe::fe", 53),
        ("2620:fe::9", 54),
        ("2620:fe::10", 53),
    ]
    assert [str(one) for one in resolvers[2:4]] == ["2620:fe::fe", "[2620:fe::9]:54"]


def test_a_challenge_domain_is_a_name_in_lower_case() -> None:
    config = Config.from_environ({"CC_CHALLENGE_DOMAIN": "Challenges.Example.NET."})

    assert config.challenge_domain == "challenges.example.net"


PRODUCTION = {
    "CC_ENV": "prd",
    "CC_DATABASE_URL": "postgresql://u:p@h/d",
    "CC_MASTER_KEY": "file:/hunter2",
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"CC_HOST": "127.0.0.1"},
        {"CC_HOST": "localhost"},
        {"CC_HOST": "::1"},
        {"CC_HOST": "0.0.0.0", "CC_TLS_CERTIFICATE": "/c.pem", "CC_TLS_KEY": "/k.pem"},
        {"CC_HOST": "0.0.0.0", "CC_TRUSTED_PROXIES": "10.1.2.3"},
    ],
)
def test_production_starts_with_its_required_settings(more: dict[str, str]) -> None:
    config = Config.from_environ({**PRODUCTION, **more})

    assert (config.profile, config.asks_credentials) == ("prd", True)
    assert (config.upload_checks, config.registration) == ("enforce", "operators")
    assert config.password_cost == RFC_9106_LOW_MEMORY


def test_production_reads_secrets_from_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:p@h/d")
    (tmp_path / "key").write_text("file:/etc/master-key")
    files = {
        "CC_DATABASE_URL_FILE": str(tmp_path / "url"),
        "CC_MASTER_KEY_FILE": str(tmp_path / "key"),
    }

    assert Config.from_environ({"CC_ENV": "prd", **files}).asks_credentials


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"CC_DATABASE_URL": ""}, "CC_DATABASE_URL is not set"),
        ({"CC_MASTER_KEY": ""}, "CC_MASTER_KEY is not set"),
        ({"CC_HOST": "0.0.0.0"}, "CC_HOST=0.0.0.0 would be served without TLS"),
        ({"CC_HOST": "::"}, "CC_HOST=:: would be served without TLS"),
        ({"CC_HOST": "10.1.2.3"}, "would be served without TLS"),
        ({"CC_HOST": "10.1.2.3", "CC_TLS_CERTIFICATE": "/c"}, "CC_TLS_KEY"),
        ({"CC_HOST": "10.1.2.3", "CC_TLS_KEY": "/k"}, "CC_TLS_CERTIFICATE"),
    ],
)
def test_production_requires_settings(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        Config.from_environ({**PRODUCTION, **changes})

    assert "hunter2" not in str(caught.value)


def test_only_production_requires_credentials() -> None:
    for profile in ("lcl", "tst"):
        config = Config.from_environ({**PRODUCTION, "CC_ENV": profile})
        assert (config.asks_credentials, config.upload_checks) == (False, "report")


def test_a_value_and_a_file_conflict(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CC_CACHE_URL and CC_CACHE_URL_FILE are both set"):
        Config.from_environ({"CC_CACHE_URL": "redis://h", "CC_CACHE_URL_FILE": str(tmp_path / "x")})


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_an_unreadable_or_empty_file_is_rejected(tmp_path: Path, content: bytes | None) -> None:
    secret = tmp_path / "url"
    if content is not None:
        secret.write_bytes(content)

    with pytest.raises(ConfigError, match="CC_CACHE_URL_FILE"):
        Config.from_environ({"CC_CACHE_URL_FILE": str(secret)})


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", SmtpServer("mail.example", 587, "starttls")),
        (
            "smtp://ada%40x:p%3Ass%2F@mail.example:25/",
            SmtpServer("mail.example", 25, "starttls", "ada@x", "p:ss/"),
        ),
        (
            "smtps://u:geheim@mail.example",
            SmtpServer("mail.example", 465, "implicit", "u", "geheim"),
        ),
        ("smtp://localhost?tls=none", SmtpServer("localhost", 25, "none")),
        ("smtp://[::1]:2525?tls=none", SmtpServer("::1", 2525, "none")),
    ],
)
def test_the_mail_server_is_parsed(url: str, server: SmtpServer, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(url)
    sender = "Certificates <certificates@example.com>"
    config = Config.from_environ({"CC_SMTP_URL_FILE": f"{tmp_path}/url", "CC_MAIL_FROM": sender})

    assert config.smtp == server
    assert config.mail_from
    assert str(config.mail_from) == sender
    assert not server.password or server.password not in repr(config)


@pytest.mark.parametrize(
    "url",
    [
        "mail.example",
        "http://mail.example",
        "smtp://",
        "smtp://mail.example:0",
        "smtp://mail.example:99999",
        "smtp://mail.example/path",
        "smtp://mail.example?tls=maybe",
        # The password would go to whoever listens.
        "smtp://user:secret@mail.example?tls=none",
    ],
)
def test_an_invalid_mail_server_is_rejected(url: str) -> None:
    with pytest.raises(ConfigError, match="CC_SMTP_URL must look like") as refused:
        Config.from_environ({"CC_SMTP_URL": url, "CC_MAIL_FROM": "a@b.example"})

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("sender", ["nobody", "@example.com", "a@", "ä@example.com", "a@b\r\nc"])
def test_an_invalid_sender_is_rejected(sender: str) -> None:
    with pytest.raises(ConfigError, match="CC_MAIL_FROM"):
        Config.from_environ({"CC_SMTP_URL": "smtp://localhost", "CC_MAIL_FROM": sender})


@pytest.mark.parametrize(
    "given", [{"CC_SMTP_URL": "smtp://localhost"}, {"CC_MAIL_FROM": "a@b.example"}]
)
def test_email_needs_a_server_and_a_sender(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Set both or neither"):
        Config.from_environ(given)


def test_webhooks_may_use_loopback_only_outside_production() -> None:
    def allowed(**settings: str) -> list[str]:
        return [str(network) for network in Config.from_environ(settings).webhook_allowed_networks]

    assert allowed() == ["127.0.0.0/8", "::1/128"]
    assert allowed(CC_WEBHOOK_ALLOWED_NETWORKS="10.1.0.0/16, fd00::/8") == [
        "10.1.0.0/16",
        "fd00::/8",
    ]
    assert allowed(**PRODUCTION) == []
    with pytest.raises(ConfigError, match="CC_WEBHOOK_ALLOWED_NETWORKS"):
        allowed(CC_WEBHOOK_ALLOWED_NETWORKS="internal")


def test_own_addresses_are_the_host_and_the_proxies() -> None:
    config = Config.from_environ({"CC_HOST": "192.0.2.7", "CC_TRUSTED_PROXIES": "198.51.100.0/24"})

    assert [str(one) for one in config.own_addresses] == ["192.0.2.7/32", "198.51.100.0/24"]


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://certs.example.com/", "https://certs.example.com"),
        ("https://certs.example.com:8443/a/b/", "https://certs.example.com:8443/a/b"),
        ("http://[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_the_public_url_is_normalized(url: str, kept: str) -> None:
    config = Config.from_environ({"CC_PUBLIC_URL": url})

    assert (config.public_url, config.mails_links) == (kept, False)
    assert Config.from_environ({}).public_url is None


@pytest.mark.parametrize(
    "url",
    [
        "certs.example.com",
        "ftp://certs.example.com",
        "https://",
        "https://user:secret@certs.example.com",
        "https://certs.example.com?a=b",
        "https://certs.example.com/#a",
        "https://certs.example.com/<b>",
        "https://certs.example.com/a\r\nb",
        "https://certs example.com",
        "https://certs.example.com:99999",
    ],
)
def test_an_invalid_public_url_is_rejected(url: str) -> None:
    with pytest.raises(ConfigError, match="CC_PUBLIC_URL must be the URL") as refused:
        Config.from_environ({"CC_PUBLIC_URL": url})

    assert "secret" not in str(refused.value)


def test_production_requires_https_in_the_public_url() -> None:
    mail = {"CC_SMTP_URL": "smtp://localhost", "CC_MAIL_FROM": "a@b.example"}
    with pytest.raises(ConfigError, match="CC_PUBLIC_URL"):
        Config.from_environ({**PRODUCTION, **mail, "CC_PUBLIC_URL": "http://certs.example.com"})

    assert not Config.from_environ({**PRODUCTION, **mail}).mails_links
    url = "https://certs.example.com"
    assert Config.from_environ({**PRODUCTION, **mail, "CC_PUBLIC_URL": url}).mails_links


@pytest.mark.parametrize("name", ["CC_CONSOLE_RETURN_ORIGINS", "CC_CONSOLE_FRAME_ORIGINS"])
def test_origins_are_written_as_browsers_write_them(name: str) -> None:
    text = "https://a.example.com, https://b.example.com:443/,http://localhost:8000,https://[::1]:1"
    config = Config.from_environ({name: text})

    origins = ("https://a.example.com", "https://b.example.com", "http://localhost:8000")
    assert getattr(config, name.removeprefix("CC_").lower()) == (*origins, "https://[::1]:1")


@pytest.mark.parametrize(
    "origin",
    [
        "portal.example.com",
        "*",
        "https://*.example.com",
        "http://portal.example.com",
        "https://portal.example.com/account",
        "https://user@portal.example.com",
        "https://portal.example.com; script-src *",
        "https://portal.example.com 'self'",
        "https://PORTAL.example.com",
        "javascript:alert(1)",
        "null",
    ],
)
@pytest.mark.parametrize("name", ["CC_CONSOLE_RETURN_ORIGINS", "CC_CONSOLE_FRAME_ORIGINS"])
def test_an_invalid_origin_is_rejected(name: str, origin: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must list origins"):
        Config.from_environ({name: origin})


def test_the_console_is_at_the_root_of_the_public_host() -> None:
    config = Config.from_environ({"CC_PUBLIC_URL": "https://certs.example.com:8443/below"})

    assert config.public_origin == "https://certs.example.com:8443"
