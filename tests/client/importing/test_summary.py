"""The printed result of an import, on a terminal and on a pipe."""

import io
from pathlib import Path
from typing import Any

import pytest

from customer_certificates.client.importing import summary
from customer_certificates.client.importing.pairing import (
    Candidate,
    Collected,
    NotUploaded,
    collect,
)
from customer_certificates.client.importing.upload import Outcome, Result
from customer_certificates.client.text import SafeConsole
from customer_certificates.errors import Finding

from .trees import NOW, issued, write

WEAK = Finding("key_weak", "private_key", "The key has 1024 bits.", "Use 2048.")
SOON = Finding("expires_soon", "body", "It expires in 12 days.", "Renew it.", "warning")
SORTED = Finding("chain_unordered", "body", "The chain was put in order.", "Nothing.", "info")


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    www = issued("www.example.com", "example.com", "mail.example.com", days=12)
    write(tmp_path, {"fullchain.pem": www.pem + www.chain, "privkey.pem": www.key_pem})
    (found,) = collect([tmp_path], [], NOW).candidates
    return found


def shown(
    results: list[Result],
    not_uploaded: tuple[NotUploaded, ...] = (),
    *,
    width: int = 200,
    **options: Any,
) -> str:
    file = io.StringIO()
    console = SafeConsole(file=file, width=width, highlight=False, **options)
    skipped = ((Path("archive"), "older versions"),)
    summary.show(console, Collected((), not_uploaded, skipped), results, NOW)
    return file.getvalue()


def test_a_row_shows_all_fields(candidate: Candidate) -> None:
    result = Result(candidate, "uploaded", 7, "public", (WEAK, SOON, SORTED), is_active=True)

    lines = shown([result], width=400).splitlines()

    (row,) = [line for line in lines if "uploaded #7" in line]
    expected = f"{candidate.files[0]} + privkey.pem"
    assert expected in row
    assert "www.example.com +2" in row
    assert f"{candidate.certificate.not_after:%Y-%m-%d} (in 12 days)" in row
    assert row.split()[-4:] == ["public", "uploaded", "#7,", "active"]
    assert "  error  The key has 1024 bits. Use 2048." in lines
    assert "  warning  It expires in 12 days. Renew it." in lines
    assert not any("put in order" in line for line in lines)
    assert "Skipped: archive (older versions)" in lines
    assert lines[-1] == "1 uploaded."


def test_a_narrow_terminal_gets_a_list(candidate: Candidate) -> None:
    result = Result(candidate, "refused", findings=(WEAK,), problem="It cannot be accepted.")

    text = shown([result], width=40)

    assert max(len(line) for line in text.splitlines()) <= 40
    assert "".join(text.split()).count("www.example.com+2") == 1
    assert "It cannot be accepted." in text


def test_only_terminals_get_colors(candidate: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    result = [Result(candidate, "failed", problem="It went away.")]

    assert "\x1b[31m" in shown(result, force_terminal=True)
    assert "\x1b" not in shown(result)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in shown(result, force_terminal=True)


def test_control_characters_are_escaped(candidate: Candidate) -> None:
    hostile = "\x1b]0;owned\x07[bold]‮moc.elgoog\udcff\n"
    not_uploaded = NotUploaded(Path(f"dir/{hostile}"), hostile, False)
    finding = Finding("x", "body", hostile, hostile)

    text = shown(
        [Result(candidate, "refused", None, hostile, (finding,), problem=hostile)], (not_uploaded,)
    )

    assert not {"\x1b", "\x07", "‮", "\udcff"} & set(text)
    assert text.count("\\u001b]0;owned\\u0007[bold]\\u202emoc.elgoog\\udcff\\n") >= 6


@pytest.mark.parametrize(
    ("outcome", "problem", "failed"),
    [
        ("uploaded", "", False),
        ("already there", "", False),
        ("would be uploaded", "", False),
        ("uploaded", "not active: taken", True),
        ("would be uploaded with errors", "", False),
        ("would be refused", "", True),
        ("refused", "", True),
        ("failed", "", True),
    ],
)
def test_failed_outcomes(
    candidate: Candidate, outcome: Outcome, problem: str, failed: bool
) -> None:
    result = Result(candidate, outcome, problem=problem)

    assert summary.has_failed(Collected((), ()), [result]) == failed


def test_unpaired_files_fail_only_if_given_directly(candidate: Candidate) -> None:
    results = [Result(candidate, "uploaded")]
    for is_failure in (True, False):
        not_uploaded = (NotUploaded(Path("cert.pem"), "no private key", is_failure),)
        assert summary.has_failed(Collected((), not_uploaded), results) == is_failure


def test_an_import_without_certificates_fails() -> None:
    """A given folder is expected to contain certificates."""
    assert summary.has_failed(Collected((), ()), [])
    assert shown([]).endswith("Nothing to upload.\n")
