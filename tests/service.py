"""The service as its users have it: the command, its processes, a real socket."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from .servers import free_port

COMMAND = str(Path(sys.executable).with_name("customer-certificates"))
START_SECONDS = 30


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
        self._wait()

    def client(self, **options: object) -> httpx.Client:
        """A new client of this service."""
        given: dict[str, Any] = {"timeout": 30, "trust_env": False, "verify": False, **options}
        return httpx.Client(base_url=self.url, **given)

    def workers(self) -> list[psutil.Process]:
        """The worker processes that serve; the one that tells webhooks is not among them."""
        return [one for one in self._children() if "work" not in one.cmdline()]

    def telling(self) -> list[psutil.Process]:
        """The process that tells webhooks; none while it is being replaced."""
        return [one for one in self._children() if "work" in one.cmdline()]

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


def run(command: str, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a sub-command to its end."""
    return subprocess.run(
        [COMMAND, *command.split()],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of its own, and with `settings`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CC_")}
    own.pop("env", None)
    return {**own, "CC_ENV": "tst", **settings}
