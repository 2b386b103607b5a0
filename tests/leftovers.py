"""A pytest plugin: fails a run that leaves processes or temporary files behind.

Everything that a run starts inherits the variable TEST_RUN, and makes its temporary files in one
folder, which is the variable's value. Under pytest-xdist only the process that controls the others
has this plugin.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import suppress
from multiprocessing.util import Finalize
from pathlib import Path

import psutil
import pytest

_WAIT_SECONDS = 15
_MEMORY = "/dev/shm"
_MEMORY_BYTES = 4 * 2**30
# This process has them until it ends: multiprocessing's, and the copy of PostgreSQL's programs.
_OWN_HELPERS = ("multiprocessing.forkserver", "multiprocessing.resource_tracker", "watchdog.py")
_OWN_FOLDERS = ("pymp-", "embedded-postgres-")


class Leftovers:
    """The check of one run. `folder` is where its temporary files are."""

    def __init__(self) -> None:
        outside = _outside()
        self.folder = Path(tempfile.mkdtemp(prefix="cc-run-", dir=outside))
        # A server that is run by another account has to get there.
        self.folder.chmod(0o755)
        # Last: multiprocessing removes its own folder in there, and does not expect it to be gone.
        Finalize(None, shutil.rmtree, [self.folder, True], exitpriority=-1000)
        self._found: list[str] = []
        os.environ["TEST_RUN"] = os.environ["TMPDIR"] = str(self.folder)
        tempfile.tempdir = None
        # pytest keeps the files of failed tests, to be looked at after the run.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", outside)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        yield
        deadline = time.monotonic() + _WAIT_SECONDS
        while (processes := living_processes(self.folder)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._found = [f"process {pid}: {command}" for pid, command in processes.items()]
        self._found += [f"file {path}" for path in self._files()]
        if self._found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._found:
            terminalreporter.section("left behind", red=True)
            for line in self._found:
                terminalreporter.line(line, red=True)

    def _files(self) -> list[Path]:
        own = set(self._own_files())
        return [path for path in self.folder.iterdir() if path not in own]

    def _own_files(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.name.startswith(_OWN_FOLDERS)]


def _outside() -> str:
    """The folder for temporary files: in memory where there is room, for nobody waits for a disk
    there. SQLite has every commit written to it. TMPDIR names another one."""
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return tempfile.gettempdir()
    room = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    # Tests run scripts that they have written.
    may_run = not found.f_flag & os.ST_NOEXEC
    is_chosen = "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK)
    return _MEMORY if is_chosen and may_run and room >= _MEMORY_BYTES else tempfile.gettempdir()


def living_processes(folder: Path) -> dict[int, str]:
    """The ids and commands of the run's processes, other than this one and its helpers."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            command = " ".join(process.cmdline())
            if process.ppid() == os.getpid() and any(name in command for name in _OWN_HELPERS):
                continue
            # Some programs overwrite their environment, and the sandbox has none.
            if str(folder) in command or _is_marked(process, folder, command):
                found[process.pid] = command
    return found


def _is_marked(process: psutil.Process, folder: Path, command: str) -> bool:
    try:
        return process.environ().get("TEST_RUN") == str(folder)
    except psutil.AccessDenied:
        # The service lets only root look into its processes. One of ours without a parent:
        return (
            sys.executable in command
            and process.ppid() == 1
            and process.create_time() >= folder.stat().st_ctime
        )
