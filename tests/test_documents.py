"""README and the tutorial: every command works as printed, and gives the printed answer."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .documents.session import PATH, ROOT, Session
from .documents.steps import Step, steps_of

README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "first-hour.md"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    found = (shutil.which("curl"), shutil.which("make"), shutil.which("nginx", path=PATH))
    if not all(found):
        pytest.skip("curl, make and nginx are needed")
    folder, logs = tmp_path / "customer-certificates", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    session = Session(folder, logs)
    yield session
    session.close()


def test_every_command_of_the_readme_gives_the_printed_answer(session: Session) -> None:
    _run(session, README)
    # `make run` prints two commands: they work after the first session, too.
    examples = "".join(f"{command}\n" for command in session.printed_commands("service"))
    registered = session.run(Step(0, commands=examples, answer='{"id":2}…"name":"Grace Hopper"…'))
    assert registered is None, registered


def test_every_command_of_the_tutorial_gives_the_printed_answer(session: Session) -> None:
    _run(session, TUTORIAL)


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


def _run(session: Session, document: Path) -> None:
    for step in steps_of(document):
        answer = session.run(step)
        assert answer is None, f"{document}:{step.line}\n{answer}"
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert session.new_files() <= ignored
