"""Any input gives a result, never an exception or a hang."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TARGETS = 6


def test_fuzzers_find_no_crash(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Guided by coverage, from the corpus on. `--long`: all at once, for five minutes.

    test_corpus has each case as it is. A short search that began with all of them would end before
    it had tried anything else.
    """
    if find_spec("atheris") is None:
        pytest.skip("atheris is there for Linux on x86-64 only")
    long = pytestconfig.getoption("long")
    how_long = ["1", "-max_total_time=300"] if long else ["8", "-runs=400"]
    options = [*how_long, "-seed=1", "-max_len=16384", "-timeout=20", "-rss_limit_mb=1024"]
    command = [sys.executable, "-m", f"{__package__}.fuzzing", str(tmp_path), *options]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    found = [path.read_bytes() for path in tmp_path.glob("*/*-*") if path.is_file()]
    assert (ended.returncode, found) == (0, []), ended.stderr[-5000:]
    assert ended.stderr.count("Done") == TARGETS
