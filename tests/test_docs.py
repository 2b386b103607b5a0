"""The reference pages name everything in the code, and the Markdown checker finds errors."""

import re
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from checks.markdown import broken_links, phrases
from customer_certificates.cli import app
from customer_certificates.services.events.log import EVENT_TYPES
from customer_certificates.web.problems import STATUSES, kind_of

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs/reference"
# Problem types of the framework and of unexpected errors.
OTHER_PROBLEMS = {
    "bad-request",
    "internal",
    "method-not-allowed",
    "request-header-fields-too-large",
}


def missing(names: set[str], page: str) -> set[str]:
    """Returns the names that a page does not mention as code."""
    text = (REFERENCE / page).read_text()
    return {name for name in names if f"`{name}" not in text}


def test_each_problem_type_has_a_section() -> None:
    sections = set(re.findall(r"^## (\S+)$", (REFERENCE / "errors.md").read_text(), re.MULTILINE))

    assert sections == {kind_of(refusal) for refusal in STATUSES} | OTHER_PROBLEMS


def test_each_event_is_documented() -> None:
    assert missing(set(EVENT_TYPES), "events.md") == set()


def test_each_command_is_documented() -> None:
    commands = typer.main.get_command(app)
    assert isinstance(commands, TyperGroup)

    assert missing(set(commands.commands), "cli.md") == set()


def test_each_metric_is_documented() -> None:
    source = (ROOT / "src/customer_certificates/gateways/metrics.py").read_text()
    names = re.findall(r'\b(?:counter|gauge|histogram)\(\s*"(\w+)"', source)
    metrics = {f"customer_certificates_{name}" for name in names}

    assert len(metrics) > 12
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
