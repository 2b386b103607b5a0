"""The commands as they are typed."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from customer_certificates.client.commands import import_certificates, inspect_files

from .stub import a_stub
from .trees import issued, write

WWW = issued("www.example.com")
app = typer.Typer()
app.command("import")(import_certificates)
app.command("inspect")(inspect_files)


def typed(*words: str | Path) -> tuple[int, str, str]:
    """The exit code, and what was printed where."""
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


def test_passphrases_are_a_line_each(folder: Path) -> None:
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
def test_what_is_mistyped_is_said_before_anything_is_done(folder: Path, words: list[str]) -> None:
    code, printed, said = typed(*(word.format(folder) for word in words))

    assert (code, printed) == (2, "")
    assert said


def test_keys_do_not_go_over_a_network_in_clear_without_a_word(tmp_path: Path) -> None:
    said = {
        server: typed("import", tmp_path, "--user", "1", "--server", server)[2]
        for server in ("http://192.0.2.1", "https://192.0.2.1", "http://[::1]:9000")
    }

    assert said == {
        "http://192.0.2.1": "warning: private keys go to http://192.0.2.1 without TLS.\n",
        "https://192.0.2.1": "",
        "http://[::1]:9000": "",
    }
