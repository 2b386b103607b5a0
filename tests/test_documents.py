"""README and the tutorial: every command works as printed, and gives the printed answer."""

import shutil
from pathlib import Path

import pytest

from .documents.session import PATH, ROOT, Session
from .documents.steps import steps_of

README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "first-hour.md"


@pytest.mark.parametrize("document", [README, TUTORIAL], ids=["README", "first-hour"])
def test_every_command_gives_the_printed_answer(document: Path, tmp_path: Path) -> None:
    _require_programs()
    folder, logs = tmp_path / "customer-certificates", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    session = Session(folder, logs)
    try:
        for step in steps_of(document):
            answer = session.run(step)
            assert answer is None, f"{document}:{step.line}\n{answer}"
        assert session.new_files() <= _ignored_by_git()
    finally:
        session.close()


def _require_programs() -> None:
    found = (shutil.which("curl"), shutil.which("make"), shutil.which("nginx", path=PATH))
    if not all(found):
        pytest.skip("curl, make and nginx are needed")


def _ignored_by_git() -> set[str]:
    return {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
