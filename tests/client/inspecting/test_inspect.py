"""The command `inspect`, which needs no service."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from customer_certificates.client.inspecting import command

from ..importing.trees import NOW, Issued, an_authority, issued, write

WWW = issued("www.example.com", "example.com")
SHOP = issued("shop.example.com", days=12)
EXPIRED = issued("old.example.com", days=-10)
PRIVATE_ROOT = an_authority().issuers[0]


class Inspections:
    """Returns the exit code and the output of the command."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self._folder = folder

    def __call__(
        self, *files: str, key: str | None = None, passphrases: tuple[str, ...] = ()
    ) -> str:
        self._run(files, key, passphrases, as_json=False)
        return self._capsys.readouterr().out

    def json(
        self, *files: str, key: str | None = None, passphrases: tuple[str, ...] = ()
    ) -> list[dict[str, Any]]:
        self._run(files, key, passphrases, as_json=True)
        found: list[dict[str, Any]] = json.loads(self._capsys.readouterr().out)
        return found

    def _run(
        self,
        files: tuple[str, ...],
        key: str | None,
        passphrases: tuple[str, ...],
        *,
        as_json: bool,
    ) -> None:
        paths = [self._folder / file for file in files]
        key_path = self._folder / key if key else None
        self.code = command.run(paths, key_path, passphrases, NOW, as_json=as_json)


@pytest.fixture
def inspected(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Inspections:
    return Inspections(capsys, tmp_path)


def codes(one: dict[str, Any], severity: str = "error") -> set[str]:
    return {found["code"] for found in one["findings"] if found["severity"] == severity}


def with_root(one: Issued) -> bytes:
    return one.pem + one.chain + PRIVATE_ROOT.public_bytes(Encoding.PEM)


def test_inspect_prints_all_fields(inspected: Inspections, tmp_path: Path) -> None:
    write(tmp_path, {"fullchain.pem": with_root(SHOP), "privkey.pem": SHOP.key_pem})

    text = inspected("fullchain.pem", "privkey.pem")

    lines = [line.strip() for line in text.splitlines()]
    facts = dict(line.split(maxsplit=1) for line in lines if " " in line)
    assert text.startswith(f"{tmp_path}/fullchain.pem + privkey.pem\n")
    assert facts["subject"] == "CN=shop.example.com"
    assert facts["issuer"] == "CN=Test Intermediate"
    assert facts["names"] == "shop.example.com"
    assert facts["valid"].endswith("expires in 12 days")
    assert facts["SHA-256"] == SHOP.certificate.fingerprint(hashes.SHA256()).hex()
    assert facts["trust"].startswith("private: ")
    assert "1. CN=shop.example.com" in text
    assert "2. CN=Test Intermediate" in text
    assert "expires_soon" in text
    assert "  → " in text
    assert inspected.code == 0


def test_matching_files_are_inspected_together(inspected: Inspections, tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "cert.pem": WWW.pem,
            "chain.pem": WWW.chain,
            "fullchain.pem": WWW.pem + WWW.chain,
            "privkey.pem": WWW.key_pem,
            "shop.pem": SHOP.pem,
            "shop.key": SHOP.key_pem,
        },
    )

    found = inspected.json(
        "cert.pem", "chain.pem", "fullchain.pem", "privkey.pem", "shop.key", "shop.pem"
    )

    assert [[Path(file).name for file in one["files"]] for one in found] == [
        ["fullchain.pem", "privkey.pem"],
        ["shop.pem", "shop.key"],
    ]
    assert [one["certificate"]["hostnames"] for one in found] == [
        ["www.example.com", "example.com"],
        ["shop.example.com"],
    ]
    assert all(one["chain_pem"].count("BEGIN") == 2 for one in found)
    assert not any("key_mismatch" in codes(one) for one in found)


def test_a_certificate_is_inspected_without_a_key(inspected: Inspections, tmp_path: Path) -> None:
    write(tmp_path, {"chain.pem": with_root(WWW)})

    (one,) = inspected.json("chain.pem")

    assert (codes(one), inspected.code) == (set(), 0)


def test_a_key_is_inspected_without_a_certificate(inspected: Inspections, tmp_path: Path) -> None:
    write(tmp_path, {"good.key": WWW.key_pem, "locked.key": WWW.encode_key(b"secret")})

    good, locked = inspected.json("good.key", "locked.key")

    assert (codes(good), codes(locked), inspected.code) == (set(), {"key_encrypted"}, 1)
    assert codes(inspected.json("locked.key", passphrases=("no", "secret"))[0]) == set()


@pytest.mark.parametrize("is_option", [True, False])
def test_a_key_of_another_certificate_is_reported(
    inspected: Inspections, tmp_path: Path, is_option: bool
) -> None:
    write(tmp_path, {"www.pem": with_root(WWW), "shop.key": SHOP.key_pem})
    files = ["www.pem"] if is_option else ["www.pem", "shop.key"]

    (one,) = inspected.json(*files, key="shop.key" if is_option else None)

    assert (codes(one), inspected.code) == ({"key_mismatch"}, 1)


def test_the_key_option_takes_precedence(inspected: Inspections, tmp_path: Path) -> None:
    """The file given with --key counts, even if another key matches."""
    write(tmp_path, {"site.pem": with_root(WWW) + WWW.key_pem, "shop.key": SHOP.key_pem})

    assert codes(inspected.json("site.pem")[0]) == set()
    assert codes(inspected.json("site.pem", key="shop.key")[0]) == {"key_mismatch"}


def test_pkcs12_and_der_are_read(inspected: Inspections, tmp_path: Path) -> None:
    write(tmp_path, {"site.p12": WWW.pkcs12(b"secret"), "site.der": WWW.der})

    (locked,) = inspected.json("site.p12")
    (opened,) = inspected.json("site.p12", passphrases=("secret",))
    (binary,) = inspected.json("site.der")

    assert "passphrase_wrong" in codes(locked) or "key_encrypted" in codes(locked)
    assert opened["certificate"] == binary["certificate"]
    assert opened["chain_pem"].count("BEGIN") == 2


def test_a_file_without_a_certificate_is_explained(inspected: Inspections, tmp_path: Path) -> None:
    write(tmp_path, {"cert.pem": WWW.pem.replace(b"M", b"!", 40), "notes.txt": "Dear Sir"})

    broken, letter = inspected.json("cert.pem", "notes.txt")

    assert "pem_invalid" in codes(broken) | codes(broken, "warning")
    assert codes(letter)
    assert inspected.code == 1


def test_an_error_sets_the_exit_code(inspected: Inspections, tmp_path: Path) -> None:
    write(tmp_path, {"old.pem": with_root(EXPIRED)})

    text = inspected("old.pem")

    assert "expired 9 days ago" in text
    assert "error expired" in text
    assert inspected.code == 1


def test_an_empty_file_is_an_error(
    inspected: Inspections, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"empty.pem": b" \n"})
    inspected("empty.pem")

    assert inspected.code == 1


def test_no_private_key_is_printed(inspected: Inspections, tmp_path: Path) -> None:
    write(tmp_path, {"site.pem": WWW.pem + WWW.key_pem})
    secret = WWW.key_pem.decode().splitlines()[1]

    assert secret not in inspected("site.pem")
    assert secret not in json.dumps(inspected.json("site.pem"))
