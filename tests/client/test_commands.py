"""The client commands on the command line."""

import json
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from customer_certificates.cli import app as commands
from customer_certificates.cli.certificates import import_certificates, inspect_files, list_expiring
from customer_certificates.cli.terminators import probe, sync

from .importing.trees import issued, write
from .stub import a_stub

WWW = issued("www.example.com")
app = typer.Typer()
app.command("import")(import_certificates)
app.command("inspect")(inspect_files)
app.command("expiring")(list_expiring)
app.command()(sync)
app.command()(probe)


def typed(*words: str | Path) -> tuple[int, str, str]:
    """Returns the exit code, the output and the errors."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A locked key, its certificate, and the passphrase among others, as an editor of Windows
    writes them."""
    return write(
        tmp_path,
        {
            "site/cert.pem": WWW.pem,
            "site/key.pem": WWW.encode_key("geheim ü".encode()),
            "passphrases": "no\r\ngeheim ü\r\n",
            "latin": b"\xfc\n",
        },
    )


def test_passphrases_are_read_one_per_line(folder: Path) -> None:
    option: list[str | Path] = ["--passphrase-file", folder / "passphrases"]
    with a_stub() as stub:
        where = ["--user", "1", "--server", stub.url]
        without = typed("import", folder / "site", *where)
        opened = typed("import", folder / "site", *where, *option)
    explained = typed(
        "inspect", folder / "site/cert.pem", "--key", folder / "site/key.pem", "--json", *option
    )

    assert (without[0], opened[0]) == (1, 0)
    assert opened[1].endswith("\n1 uploaded.\n")
    codes = {finding["code"] for finding in json.loads(explained[1])[0]["findings"]}
    assert not {"key_encrypted", "passphrase_wrong", "key_mismatch"} & codes


@pytest.mark.parametrize(
    "words",
    [
        ["import", "{}/site"],
        ["import", "{}/nowhere", "--user", "1"],
        ["import", "{}/site", "--user", "0"],
        ["import", "{}/site", "--user", "1", "--server", "localhost:9000"],
        ["import", "{}/site", "--user", "1", "--server", "http://[::1"],
        ["import", "{}/site", "--user", "1", "--passphrase-file", "{}/latin"],
        ["inspect"],
        ["inspect", "{}/site"],
    ],
)
def test_invalid_options_are_rejected_before_any_request(folder: Path, words: list[str]) -> None:
    code, printed, said = typed(*(word.format(folder) for word in words))

    assert (code, printed) == (2, "")
    assert said


ELSEWHERE = ("http://192.0.2.1", "HTTP://192.0.2.1:9000/", "http://www.localhost")
HERE = ("http://[::1]:9000", "http://127.0.0.1:9000", "http://localhost:9000", "https://192.0.2.1")


@pytest.mark.parametrize("server", [*ELSEWHERE, *HERE])
@pytest.mark.parametrize(
    ("words", "secrets"),
    [
        (["import", "{}", "--user", "1"], "private keys and the token"),
        (["sync", "--out", "/dev/null/no", "--format", "pem"], "private keys and the token"),
        (["expiring", "--user", "1", "--within", "x", "--token-file", "{}/token"], "the token"),
        (["probe", "", "--token-file", "{}/token"], "the token"),
    ],
)
def test_secrets_are_not_sent_over_plain_http(
    tmp_path: Path, server: str, words: list[str], secrets: str
) -> None:
    """--insecure allows it. The commands have nothing to do, so they end at once."""
    (tmp_path / "token").write_text("token")
    words = [word.format(tmp_path) for word in words]
    code, _, said = typed(*words, "--server", server)
    allowed = typed(*words, "--server", server, "--insecure")

    refusal = f"uses plain HTTP to another host. Anyone on the network path could read {secrets}."
    is_refused = refusal in " ".join(said.replace("│", " ").split())
    assert is_refused == (server in ELSEWHERE)
    assert code == 2 or not is_refused
    assert "uses plain HTTP" not in allowed[2]
    if server in ELSEWHERE and secrets != "the token":
        assert "warning: private keys " in allowed[2]


def test_requests_without_secrets_may_use_plain_http() -> None:
    assert "uses plain HTTP" not in typed("probe", "", "--server", ELSEWHERE[0])[2]


def ending(number: int, days: float, *, covered: bool = False) -> dict[str, Any]:
    """The service's item for a certificate that expires in so many days."""
    end = datetime.now(UTC) + timedelta(days=days, hours=12)
    return {
        "id": number,
        "version": 1,
        "hostnames": [f"{number}.example", "\x1b[31m.example"],
        "not_after": end.isoformat(),
        "days_left": int(days),
        "covered": covered,
    }


@pytest.mark.parametrize(
    ("those", "code", "said"),
    [
        ([], 0, "0 certificates expire within 14 days."),
        (
            [ending(3, 12, covered=True)],
            0,
            "1 certificate expires within 14 days. Replaced by others: 1.",
        ),
        ([ending(3, -3), ending(4, 3)], 1, "2 certificates expire within 14 days."),
    ],
)
def test_expiring_prints_a_table(those: list[dict[str, Any]], code: int, said: str) -> None:
    with a_stub() as stub:
        stub.before = lambda _method, _path: (200, {}, those)
        ended = typed("expiring", "--user", "1", "--within", "14d", "--server", stub.url)

    assert ended[0] == code
    assert ended[1].splitlines()[-1] == said
    assert "\x1b" not in ended[1]
    for one in those:
        assert f"{one['id']}.example +1" in ended[1]
    if code:
        assert "2 days ago" in ended[1]
        assert "in 3 days" in ended[1]


def test_expiring_reads_every_page() -> None:
    """The Link header leads to the next one."""
    asked: list[str] = []

    def answer(_method: str, path: str) -> Any:
        asked.append(path)
        following = {"Link": '</users/1/expiring?after=7_2>; rel="next"'}
        return 200, following if len(asked) == 1 else {}, [ending(len(asked), 1)]

    with a_stub() as stub:
        stub.before = answer
        ended = typed("expiring", "--user", "1", "--server", stub.url)

    assert ended[1].endswith("2 certificates expire within 30 days.\n")
    assert asked == ["/users/1/expiring?within=30d&limit=1000", "/users/1/expiring?after=7_2"]


def test_expiring_over_all_users_shows_the_user() -> None:
    asked: list[str] = []

    def answer(_method: str, path: str) -> Any:
        asked.append(path)
        return 200, {}, [ending(3, 3) | {"user_id": 4711}]

    with a_stub() as stub:
        stub.before = answer
        ended = typed("expiring", "--within", "14d", "--server", stub.url)

    assert (ended[0], asked) == (1, ["/expiring?within=14d&limit=1000"])
    assert "4711" in ended[1]


def test_expiring_fails_if_the_service_does_not_respond() -> None:
    with a_stub() as stub:
        stub.before = lambda _method, _path: (404, {}, {"detail": "User 1 does not exist."})
        refused = typed("expiring", "--user", "1", "--server", stub.url)
    gone = typed("expiring", "--user", "1", "--server", stub.url)

    assert (refused[0], gone[0]) == (2, 2)
    assert "User 1 does not exist." in refused[2]
    for within in ("soon", "14", "-1d", "99999d"):
        words = ["--user", "1", "--server", stub.url, "--within", within]
        assert typed("expiring", *words)[0] == 2


def test_expiring_certificates_as_json() -> None:
    with a_stub() as stub:
        stub.before = lambda _method, _path: (200, {}, [ending(3, -3), ending(4, 3, covered=True)])
        ended = typed("expiring", "--user", "1", "--json", "--server", stub.url)

    assert ended[0] == 1
    assert [(one["id"], one["covered"]) for one in json.loads(ended[1])] == [(3, False), (4, True)]


def test_an_import_as_json(folder: Path) -> None:
    with a_stub() as stub:
        words = ["import", folder, "--user", "1", "--server", stub.url, "--json"]
        ended = typed(*words, "--passphrase-file", folder / "passphrases")

    (certificate,) = json.loads(ended[1])["certificates"]
    assert ended[0] == 0
    assert certificate["outcome"] == "uploaded"
    assert certificate["certificate_id"]
    assert certificate["hostnames"] == ["www.example.com"]


def test_environment_variables_set_the_server_and_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("secret-token\n")
    with a_stub() as stub:
        stub.before = lambda _method, _path: (200, {}, [])
        monkeypatch.setenv("CUSTOMER_CERTIFICATES_URL", stub.url)
        monkeypatch.setenv("CUSTOMER_CERTIFICATES_TOKEN_FILE", str(tmp_path / "token"))
        ended = typed("expiring", "--user", "1")

    assert ended[0] == 0
    assert stub.authorizations == ["Bearer secret-token"]


def test_a_rejected_token_names_the_option() -> None:
    with a_stub() as stub:
        stub.before = lambda _method, _path: (401, {}, {"detail": "A token is required."})
        ended = typed("expiring", "--user", "1", "--server", stub.url)

    assert ended[0] == 2
    assert "A token is required. Pass a valid token with --token-file FILE." in ended[2]


def test_a_private_ca_is_trusted_only_if_it_is_named(tmp_path: Path) -> None:
    server = issued("localhost")
    files = {
        "ca.pem": server.issuers[-1].public_bytes(Encoding.PEM),
        "pair.pem": server.pem + server.chain + server.key_pem,
        "other.pem": WWW.pem,
        "nothing.pem": "none",
    }
    write(tmp_path, files)
    with a_stub(tmp_path / "pair.pem") as stub:
        stub.before = lambda _method, _path: (200, {}, [])
        words = ["expiring", "--user", "1", "--server", stub.url]
        named = typed(*words, "--ca", tmp_path / "ca.pem")
        unnamed = typed(*words)
        other = typed(*words, "--ca", tmp_path / "other.pem")
        nothing = typed(*words, "--ca", tmp_path / "nothing.pem")

    assert (named[0], unnamed[0], other[0], nothing[0]) == (0, 2, 2, 2), named
    assert "name its file with --ca" in unnamed[2]
    assert "no usable certificates" in nothing[2]


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(commands, ["--version"])

    assert (result.exit_code, result.stdout) == (
        0,
        f"customer-certificates {version('customer-certificates')}\n",
    )


def test_a_shell_completes_commands() -> None:
    variables = {
        "_CUSTOMER_CERTIFICATES_COMPLETE": "complete_bash",
        "COMP_WORDS": "customer-certificates ins",
        "COMP_CWORD": "1",
    }
    result = CliRunner().invoke(commands, [], prog_name="customer-certificates", env=variables)

    assert result.stdout.split() == ["inspect"]
