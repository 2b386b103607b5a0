"""The service as its users have it: the command, its processes, a real socket."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

from customer_certificates.cli import main

from .servers import free_port
from .watchdog import watch

COMMAND = str(Path(sys.executable).with_name("customer-certificates"))
START_SECONDS = 30
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [f"customer_certificates.{room}" for room in ("app", "cli", "maintenance")] + [__name__]
)


class Service:
    """`customer-certificates serve` with the given settings; what it prints goes to `log`."""

    def __init__(
        self,
        settings: Mapping[str, str],
        log: Path,
        command: Sequence[str] = (COMMAND, "serve"),
    ) -> None:
        port = free_port()
        self.url = f"http{'s' if 'CC_TLS_KEY' in settings else ''}://127.0.0.1:{port}"
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                env=environment({**settings, "CC_PORT": str(port)}),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        watch(self.popen.pid)
        self._wait()

    def client(self, **options: object) -> httpx.Client:
        """A new client of this service."""
        given: dict[str, Any] = {"timeout": 30, "trust_env": False, "verify": False, **options}
        return httpx.Client(base_url=self.url, **given)

    def workers(self) -> list[psutil.Process]:
        """The processes that answer requests."""
        return [one for one in self._children() if not _tells(one)]

    def telling(self) -> list[psutil.Process]:
        """The process that tells webhooks; none while it is being replaced."""
        return [one for one in self._children() if _tells(one)]

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(40)

    def kill(self) -> None:
        """Ends whatever is left of it."""
        if self.popen.poll() is None:
            for process in [*self._children(), psutil.Process(self.popen.pid)]:
                process.kill()
        self.popen.wait()

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self.popen.pid).children()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with self.client() as client:
            while True:
                try:
                    client.get("/livez")
                except httpx.TransportError:
                    if self.popen.poll() is not None or time.monotonic() > deadline:
                        self.kill()
                        raise RuntimeError(f"no service:\n{self.log.read_text()}") from None
                    time.sleep(0.02)
                else:
                    return


def _tells(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return "work" in process.cmdline()
    # It has just ended: whoever kills workers waits for that.
    return False


def run(
    command: str, settings: Mapping[str, str], seconds: int = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a sub-command to its end, which comes within `seconds`, in a process of its own.

    That is forked from one which has imported what commands import, as most of a short command's
    time is that. `serve` is run as its users run it.
    """
    words = [COMMAND, *command.split()]
    if "serve" in words:
        return subprocess.run(
            words,
            env=environment(settings),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    with TemporaryDirectory() as folder:
        output, errors = Path(folder, "stdout"), Path(folder, "stderr")
        process = _FORKED.Process(
            target=_command, args=(words, environment(settings), output, errors)
        )
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, seconds)
        return subprocess.CompletedProcess(
            words, process.exitcode, output.read_text(), errors.read_text()
        )


def _command(words: list[str], variables: dict[str, str], output: Path, errors: Path) -> None:
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = words
    for path, number in ((output, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    main()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of its own, and with `settings`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CC_")}
    own.pop("env", None)
    return {**own, "CC_ENV": "tst", **settings}
