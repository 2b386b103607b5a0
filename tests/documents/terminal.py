"""Shells that run a document's commands."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from ..watchdog import kill_family, watch

_SECONDS = 60
_PAUSE_SECONDS = 0.02
_END = re.compile(r"^--- ended with (\d+) ---\n", re.MULTILINE)


class Terminal:
    """A shell that keeps its variables from one command to the next."""

    def __init__(self, folder: Path, environment: Mapping[str, str], output: Path) -> None:
        self._output = output
        with output.open("ab") as file:
            self._shell = subprocess.Popen(
                ["bash"],
                cwd=folder,
                env=environment,
                # A run in the background ignores SIGINT, and its children would inherit that.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
            )
        watch(self._shell.pid)
        # Where the output of the last commands begins, and what of it nobody has seen yet.
        self._typed = self._unseen = 0

    def type(self, commands: str) -> None:
        """Has the shell run the commands, once those before have ended."""
        if self._typed:
            self._wait_for_end()
        assert self._shell.stdin
        self._typed = self._unseen = self._output.stat().st_size
        text = f"{commands}\nprintf -- '\\n--- ended with %d ---\\n' $?\n"
        self._shell.stdin.write(text.encode())
        self._shell.stdin.flush()

    def run(self, commands: str) -> tuple[str, int]:
        """Returns what the commands print, and the status of the last one."""
        self.type(commands)
        return self._wait_for_end()

    def wait_for(self, is_expected: Callable[[str], bool]) -> str | None:
        """Returns None once the unseen output is as expected, else the output."""
        deadline = time.monotonic() + _SECONDS
        while True:
            size = self._output.stat().st_size
            text = _read(self._output, self._unseen, size)
            end = _END.search(text)
            if is_expected(text[: end.start()] if end else text):
                self._unseen = size
                return None
            if end or time.monotonic() > deadline:
                return text
            time.sleep(_PAUSE_SECONDS)

    def interrupt(self) -> None:
        """Sends what Ctrl-C sends to the program that runs in the shell, and waits for its end."""
        for process in psutil.Process(self._shell.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT)
        self._wait_for_end()

    def _wait_for_end(self) -> tuple[str, int]:
        deadline = time.monotonic() + _SECONDS
        while True:
            text = _read(self._output, self._typed, self._output.stat().st_size)
            if end := _END.search(text):
                return text[: end.start()], int(end[1])
            assert time.monotonic() < deadline, f"the command does not end:\n{text}"
            time.sleep(_PAUSE_SECONDS)

    def close(self) -> None:
        """Ends the shell and all that it runs."""
        with suppress(psutil.NoSuchProcess):
            kill_family(psutil.Process(self._shell.pid))
        self._shell.wait()
        if self._shell.stdin:
            self._shell.stdin.close()


def _read(file: Path, begin: int, end: int) -> str:
    with file.open("rb") as output:
        output.seek(begin)
        return output.read(end - begin).decode(errors="replace")
