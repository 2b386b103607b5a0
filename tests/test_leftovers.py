"""The check for leftovers finds what a run left behind."""

import subprocess
from pathlib import Path

import pytest

from .leftovers import living_processes


@pytest.mark.parametrize(
    ("argument", "variables"), [("60", {"TEST_RUN": "{folder}"}), ("60 {folder}", {})]
)
def test_a_living_process_is_found(
    tmp_path: Path, argument: str, variables: dict[str, str]
) -> None:
    """By its environment, or by the run's folder in its command."""
    process = subprocess.Popen(
        ["sh", "-c", "read line", *argument.format(folder=tmp_path).split()],
        env={name: of.format(folder=tmp_path) for name, of in variables.items()},
        stdin=subprocess.PIPE,
    )
    assert [*living_processes(tmp_path)] == [process.pid]

    process.communicate()
    assert living_processes(tmp_path) == {}
