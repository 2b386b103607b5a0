"""Reads the commands and the printed answers of a Markdown file.

- A block "```sh" is typed into a terminal. "```sh NAME" types it into the terminal of that name.
- A block of another language directly after it is its answer, up to the next prose that has a
  command. "```text NAME" is a later output of that terminal.
- "<!-- Ctrl-C: NAME -->" interrupts the program that runs in that terminal.
- "```sh not run" is not typed. Only the commands of `NOT_RUN` may be marked so.
- A block that follows no command is an example, not an answer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

MAIN = "main"
_ANSWERS = ("json", "text")
# They test, measure and download: what they print depends on the machine.
NOT_RUN = frozenset({"make test", "make bench"})
_BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_INTERRUPT = re.compile(r"^<!-- Ctrl-C: (?P<terminal>\w+) -->$", re.MULTILINE)
_STEP = re.compile(f"{_BLOCK.pattern}|{_INTERRUPT.pattern}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """Commands to type into a terminal, the answer to expect, or both."""

    line: int
    terminal: str = MAIN
    commands: str | None = None
    answer: str | None = None
    span: tuple[int, int] | None = None
    is_json: bool = False
    interrupts: bool = False


def steps_of(path: Path) -> list[Step]:
    """Returns the steps of the file in their order."""
    return list(_steps(path.read_text()))


def _steps(text: str) -> Iterator[Step]:
    typed: Step | None = None
    for match in _STEP.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["terminal"]:
            if typed:
                yield typed
                typed = None
            yield Step(line, match["terminal"], interrupts=True)
            continue
        language, _, name = match["info"].partition(" ")
        if language == "sh":
            if typed:
                yield typed
            typed = None
            if name == "not run":
                _require_known(match["text"], line)
            else:
                typed = Step(line, name or MAIN, match["text"])
        elif language in _ANSWERS:
            if typed and not name:
                yield replace(typed, **_answer(match))
                typed = None
            elif name:
                if typed:
                    yield typed
                    typed = None
                yield Step(line, name, **_answer(match))
    if typed:
        yield typed


def _answer(match: re.Match[str]) -> dict[str, Any]:
    is_json = match["info"].startswith("json")
    return {"answer": match["text"], "span": match.span("text"), "is_json": is_json}


def _require_known(text: str, line: int) -> None:
    for command in text.splitlines():
        if command.partition("#")[0].strip() not in NOT_RUN:
            raise ValueError(f"line {line}: this command must be run: {command}")
