"""The reference pages name everything in the code, and the Markdown checker finds errors."""

import re
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from checks.markdown import broken_links, phrases
from customer_certificates.cli import app
from customer_certificates.config import SETTINGS
from customer_certificates.services.events.log import EVENT_TYPES

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs/reference"


def missing(names: set[str], page: str) -> set[str]:
    """Returns the names that a page does not mention as code."""
    text = (REFERENCE / page).read_text()
    return {name for name in names if f"`{name}" not in text}


def test_each_event_is_documented() -> None:
    assert missing(set(EVENT_TYPES), "events.md") == set()


def test_each_page_that_the_code_names_exists() -> None:
    named = {
        name
        for file in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"(?<![/\w])docs/[\w/.-]*\w", file.read_text())
    }

    assert len(named) > 10
    assert [name for name in sorted(named) if not [*ROOT.glob(f"{name}*")]] == []


def test_each_setting_that_a_page_names_exists() -> None:
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
    compose = set(re.findall(r"CC_[A-Z_]+", (ROOT / "docker-compose.yaml").read_text()))
    named = {name for page in pages for name in re.findall(r"\bCC_[A-Z_]+\b", page.read_text())}

    assert {name.removesuffix("_FILE") for name in named} - compose - set(SETTINGS) == set()


def test_each_command_is_documented() -> None:
    commands = typer.main.get_command(app)
    assert isinstance(commands, TyperGroup)

    assert missing(set(commands.commands), "cli.md") == set()


@pytest.mark.parametrize("unit", sorted((ROOT / "deploy/systemd").glob("*.service")))
def test_each_unit_runs_a_command_with_options_that_exist(unit: Path) -> None:
    commands = typer.main.get_command(app)
    assert isinstance(commands, TyperGroup)
    lines = re.findall(r"^ExecStart(?:Pre)?=(.*)$", unit.read_text(), re.MULTILINE)

    for line in lines:
        program, name, *options = line.replace("%i", "nginx").replace(" $OPTIONS", "").split()
        assert program == "/opt/customer-certificates/bin/customer-certificates"
        commands.commands[name].make_context(name, options)
    assert lines


def test_each_metric_is_documented() -> None:
    gateways = ROOT / "src/customer_certificates/gateways"
    source = "".join((gateways / name).read_text() for name in ("metrics.py", "fleet_metrics.py"))
    names = re.findall(r'\b(?:counter|gauge|histogram)\(\s*"(\w+)"', source)
    metrics = {f"customer_certificates_{name}" for name in names}

    assert len(metrics) > 20
    assert missing(metrics, "metrics.md") == set()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](missing.md)", "no such file"),
        ("# Title\n\n[a](#other-title)", "no such heading"),
        ('<img src="missing.svg">', "no such file"),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, text: str, problem: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)

    (found,) = broken_links(page)

    assert found.endswith(problem)


@pytest.mark.parametrize(
    "text",
    [
        "# Title: a `part`, twice\n\n[a](#title-a-part-twice)",
        "# Title\n# Title\n\n[a](#title-1)",
        "```\n[a](missing.md)\n```",
        "[a](https://example.com/missing.md)",
    ],
)
def test_other_links_pass(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)

    assert list(broken_links(page)) == []


@pytest.mark.parametrize("text", ["Users are told.", "## What is recorded", "- Whoever asks."])
def test_a_banned_phrase_is_found(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{text}\n\nUse `What` in code. What is a lease?\n")

    (found,) = phrases(page)

    assert found.startswith(f"{page}:1:")
