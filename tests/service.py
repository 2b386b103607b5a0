"""The service as its users have it: the command, its processes, a real socket."""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
from alembic.config import main as alembic

from customer_certificates.cli import main
from customer_certificates.client.sync import publishing
from customer_certificates.gateways.sandbox import fork_server
from customer_certificates.server import main as server
from customer_certificates.server.supervisor import Supervisor, Work

from . import broken_caches, debug_app, moved_clock
from .servers import free_port
from .watchdog import kill_family, watch

COMMAND = str(Path(sys.executable).with_name("customer-certificates"))
# Services that are not as users have them.
_CHANGED = {
    "broken-cache": broken_caches.serve,
    "debug-app": debug_app.serve,
    "moved-clock": moved_clock.serve,
}
_PROGRAMS = {"customer-certificates": main, "alembic": alembic, **_CHANGED}
START_SECONDS = 120
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [
        f"customer_certificates.{room}"
        for room in ("app", "background.worker", "cli", "client.sync.command", "server.main")
    ]
    # Typer imports the first one when it reads arguments, and the second one for its help.
    + ["typer._adapters", "typer.rich_utils", __name__, f"{__package__}.preloaded"]
)


class Forked:
    """A command, one of `_PROGRAMS`, in a process that is forked from one which has imported all
    that commands import: that import is most of a start's time. As much of Popen as tests use."""

    def __init__(
        self,
        words: Sequence[str],
        variables: dict[str, str],
        stdout: Path,
        stderr: Path,
        *,
        folder: Path | None = None,
        delivers: bool = True,
        program: Callable[[], object] | None = None,
    ) -> None:
        """`folder` is the one to run it in, if not this process's. `program`, a function of a
        module, is run in place of the command that `words` name."""
        program = program or _PROGRAMS[Path(words[0]).name]
        self._process = _FORKED.Process(
            target=_command,
            args=(program, words, variables, stdout, stderr, folder or Path.cwd(), delivers),
        )
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("customer-certificates", timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Service:
    """`customer-certificates serve` with the given settings; what it prints goes to `log`."""

    def __init__(
        self,
        settings: Mapping[str, str],
        log: Path,
        command: Sequence[str] = (),
        *,
        delivers: bool = False,
    ) -> None:
        """`delivers`: with the worker that `serve` starts, which sends events and does periodic
        work. `command` is started, as a user starts it, in place of a forked `serve`; it is forked
        as well if it is one of `_PROGRAMS`."""
        port = settings.get("CC_PORT") or free_port()
        self.url = f"http{'s' if 'CC_TLS_KEY' in settings else ''}://127.0.0.1:{port}"
        self.log = log
        # A service that is killed does not remove its temporary files.
        self._temporary = TemporaryDirectory(ignore_cleanup_errors=True)
        variables = environment({"TMPDIR": self._temporary.name, **settings, "CC_PORT": str(port)})
        self.popen = (
            _popen(command, variables, log)
            if command and command[0] not in _PROGRAMS
            else Forked(command or [COMMAND, "serve"], variables, log, log, delivers=delivers)
        )
        watch(self.popen.pid)
        # multiprocessing waits at exit for what it started.
        atexit.register(self.kill)
        self._wait()

    def client(self, **options: object) -> httpx.Client:
        """A new client of this service."""
        given: dict[str, Any] = {"timeout": 30, "trust_env": False, "verify": False, **options}
        return httpx.Client(base_url=self.url, **given)

    def workers(self) -> list[psutil.Process]:
        """The processes that answer requests."""
        return self._children("cc-worker")

    def telling(self) -> list[psutil.Process]:
        """The process that tells webhooks; none while it is being replaced."""
        return self._children("cc-background")

    def fork_servers(self) -> list[psutil.Process]:
        """The processes that fork the children which examine, one for each worker. The service is
        one that does not share its template."""
        (template,) = (one for one in self._first().children() if _is_template(one))
        return template.children()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        code = self.popen.wait(40)
        self.kill()
        return code

    def kill(self) -> None:
        """Ends whatever is left of it."""
        if self.popen.poll() is None:
            kill_family(psutil.Process(self.popen.pid))
        self.popen.wait()
        self._temporary.cleanup()
        atexit.unregister(self.kill)

    def _children(self, name: str) -> list[psutil.Process]:
        return [one for one in self._first().children() if _has_name(one, name)]

    def _first(self) -> psutil.Process:
        return psutil.Process(self.popen.pid)

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


def _has_name(process: psutil.Process, name: str) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.name() == name)
    # It has just ended: whoever kills workers waits for that.
    return False


def _is_template(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return "serve_fork_servers" in " ".join(process.cmdline())
    return False


def run(
    command: str, settings: Mapping[str, str], seconds: int = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a sub-command to its end, which comes within `seconds`, in a `Forked` process."""
    return run_forked([COMMAND, *command.split()], settings, seconds=seconds)


def run_forked(
    words: Sequence[str],
    settings: Mapping[str, str],
    *,
    folder: Path | None = None,
    seconds: int = 60,
    program: Callable[[], object] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a `Forked` command to its end, which comes within `seconds`."""
    with TemporaryDirectory() as temporary:
        stdout, stderr = Path(temporary, "stdout"), Path(temporary, "stderr")
        variables = environment(settings)
        forked = Forked(words, variables, stdout, stderr, folder=folder, program=program)
        try:
            code = forked.wait(seconds)
        except subprocess.TimeoutExpired:
            forked.kill()
            raise
        return subprocess.CompletedProcess(words, code, stdout.read_text(), stderr.read_text())


def _popen(
    command: Sequence[str], variables: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command, env=variables, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )


def _command(
    program: Callable[[], object],
    words: list[str],
    variables: dict[str, str],
    stdout: Path,
    stderr: Path,
    folder: Path,
    delivers: bool,
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = words
    for path, number in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    # Here it is that of the fork; the first is the default of a process that a user starts.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    if words[0] in _CHANGED:
        # Tests kill its sandbox, so it must not share the template.
        fork_server._template = fork_server._Template()
    # Agents would wait between one reload of a server and the next.
    publishing.PAUSE_SECONDS = 0.1
    if not delivers:
        server.__dict__["Supervisor"] = _WithoutBackground
    program()


class _WithoutBackground(Supervisor):
    def __init__(self, work: Work, **options: Any) -> None:
        options["background"] = None
        super().__init__(work, **options)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of its own, and with `settings`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CC_")}
    own.pop("env", None)
    return {**own, "CC_ENV": "tst", **settings}
