"""No output of a command and no log line contains control characters."""

import ast
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.table import Table
from rich.text import Text

from customer_certificates.client.sync import command
from customer_certificates.client.sync.status import Status
from customer_certificates.client.text import console
from customer_certificates.gateways.log_format import configure_logging
from customer_certificates.terminal import escaped, escaped_lines, note, say, show

from .pki.authority import NOW
from .test_architecture import FILES, SOURCE

# One of each kind: C0, DEL, C1, bidirectional, invisible, line breaks, a lone surrogate, a tag.
HOSTILE = (
    "a\x1b]0;x\x07\x7f\x9b31m\x85\u202e\u2066\u200f\u061c\u200b\ufeff\u2028\n\r\udcff\U000e0041z"
)
# Without the surrogate, as UTF-8 and JSON have it.
ENCODABLE = HOSTILE.replace("\udcff", "")
# The functions that write to a terminal, and their modules.
_WRITERS = {"print", "echo", "secho", "print_json", "Console", "SafeConsole", "StreamHandler"}
_ALLOWED = {
    "terminal.py": {"print", "stderr"},
    "client/text.py": {"SafeConsole", "stdout", "stderr"},
    "gateways/log_format.py": {"StreamHandler", "stderr"},
    # Routes, addresses and numbers, none of which a client can make up.
    "gateways/request_lines.py": {"stdout"},
    # The stream of a WSGI environment. Falcon writes nothing there.
    "server/request.py": {"stderr"},
    # Flushed before a process is forked, and before it exits.
    "server/supervisor.py": {"stdout"},
    "server/worker_process.py": {"stdout", "stderr"},
}


def test_every_kind_of_character_is_escaped() -> None:
    shown = escaped(HOSTILE)

    assert shown.isprintable()
    assert shown.startswith("a\\u001b]0;x\\u0007\\u007f\\u009b31m\\u0085\\u202e")
    assert shown.endswith("\\u2028\\n\\r\\udcff\\udb40\\udc41z")
    assert escaped(shown) == shown
    assert escaped("Zoë 東京 \\ [bold] –") == "Zoë 東京 \\ [bold] –"


def test_json_stays_the_same() -> None:
    value = {"name": ENCODABLE, "lines": ["\n"]}
    for text in (json.dumps(value, ensure_ascii=False), json.dumps(value, indent=2)):
        assert json.loads(escaped_lines(text)) == value


def test_printed_text_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    show(HOSTILE)
    note(HOSTILE)
    say(HOSTILE)
    terminal = console()
    table = Table()
    table.add_column(HOSTILE)
    table.add_row(ENCODABLE)
    terminal.print(table, Text(ENCODABLE), ENCODABLE)

    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert text.replace("\n", "").isprintable()
        assert "\\u202e" in text
    # A line of the log is one.
    assert printed.err.splitlines()[-1].startswith("customer-certificates: a\\u001b")


def test_a_status_is_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The service and its responses are not trusted."""
    found = Status(ENCODABLE, ENCODABLE, ENCODABLE, 1, NOW, NOW, False, 0, 0, 0, None, (ENCODABLE,))
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(found))

    command.show_status(tmp_path, as_json=False)
    printed = capsys.readouterr()
    assert printed.out.count("\\u202e") == 4
    assert (printed.out + printed.err).replace("\n", "").isprintable()


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield root
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("is_terminal", [True, False])
def test_log_lines_are_escaped(
    root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    reading, writing = os.openpty() if is_terminal else os.pipe()
    with os.fdopen(reading, "rb", 0) as read, os.fdopen(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logging()
        try:
            raise ValueError(ENCODABLE)
        except ValueError:
            root_logger.exception("of a customer: %s", ENCODABLE)
        lines = read.read(1 << 16).decode()

    text = lines.replace("\r\n", "").replace("\n", "")
    assert text.isprintable()
    assert text.count("\\u202e") >= 2
    if not is_terminal:
        assert json.loads(lines)["event"] == f"of a customer: {ENCODABLE}"


def test_nothing_else_writes_to_a_terminal() -> None:
    """All commands print through `terminal`, or through the console that escapes."""
    found = {str(path.relative_to(SOURCE)): _writers(ast.parse(path.read_text())) for path in FILES}

    assert {path: names for path, names in found.items() if names} == _ALLOWED


def _writers(tree: ast.AST) -> set[str]:
    """The writers that are called, and the streams of `sys` that are used."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in _WRITERS:
                found.add(name)
            # `print` of a console escapes.
            case ast.Call(func=ast.Attribute(attr=name)) if name in _WRITERS - {"print"}:
                found.add(name)
            case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" as name):
                found.add(name)
            case ast.ImportFrom(module="sys" | "builtins", names=names):
                found |= {one.name for one in names} & {"stdout", "stderr", "print"}
    return found
