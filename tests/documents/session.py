"""The folder, the ports and the terminals in which a document's commands run."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ..servers import free_port
from .answers import agrees
from .steps import MAIN, Step
from .terminal import Terminal

ROOT = Path(__file__).parents[2]
# Servers are not in everybody's PATH; Caddy is in the environment of the tests.
PATH = f"{os.environ['PATH']}:/usr/sbin:{Path(sys.executable).parent}"
# The ports of the documents; the tests replace each by a free one.
_PORTS = ("9000", "8443", "9100", "2021")
_PORT = re.compile(rf"\b({'|'.join(_PORTS)})\b")
_RUN = "from tests.documents.command import main\nmain()\n"
# The files of a clone that the commands use.
_CLONE = ("Makefile", "alembic.ini", "alembic", "pyproject.toml", "uv.lock")


class Session:
    """One document's run. `folder` stands for the clone and its environment."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder = folder
        self._logs = logs
        self._ports = {port: str(free_port()) for port in _PORTS}
        self._terminals: dict[str, Terminal] = {}
        _clone(folder, self._ports)
        self._before = {path.name for path in folder.iterdir()}

    def run(self, step: Step) -> str | None:
        """Carries out one step. Returns its answer if it differs from the printed one.

        AssertionError: a command without a printed answer failed.
        """
        terminal = self._terminal(step.terminal)
        if step.interrupts:
            terminal.interrupt()
            return None
        commands = _ported(step.commands or "", self._ports)
        if step.commands and step.terminal == MAIN:
            text, status = terminal.run(commands)
            if step.answer is None:
                assert status == 0, f"line {step.line}: {text}"
                return None
            return None if self._agrees(step, text) else self._shown(text)
        if step.commands:
            terminal.type(commands)
        if step.answer is None:
            return None
        seen = terminal.wait_for(lambda text: self._agrees(step, text))
        return None if seen is None else self._shown(seen)

    def new_files(self) -> set[str]:
        """Returns the names that the commands made in the clone's first level."""
        return {path.name for path in self._folder.iterdir()} - self._before

    def printed_commands(self, terminal: str) -> list[str]:
        """Returns the curl commands that the programs in that terminal printed."""
        lines = (self._logs / terminal).read_text().splitlines()
        return [f"curl -s {line[7:]}" for line in lines if line.startswith("  curl ")]

    def close(self) -> None:
        """Ends all programs that the commands started."""
        for terminal in self._terminals.values():
            terminal.close()

    def _terminal(self, name: str) -> Terminal:
        if name not in self._terminals:
            environment = _environment(self._folder, self._ports)
            self._terminals[name] = Terminal(self._folder, environment, self._logs / name)
        return self._terminals[name]

    def _agrees(self, step: Step, text: str) -> bool:
        return agrees(step.answer or "", self._shown(text), is_json=step.is_json)

    def _shown(self, text: str) -> str:
        for port, own in self._ports.items():
            text = text.replace(own, port)
        return text.replace(str(self._folder), "/home/ada/customer-certificates")


def _ported(text: str, ports: Mapping[str, str]) -> str:
    return _PORT.sub(lambda match: ports[match[0]], text)


def _clone(folder: Path, ports: Mapping[str, str]) -> None:
    for name in _CLONE:
        (folder / name).symlink_to(ROOT / name)
    (folder / "examples").mkdir()
    for file in (ROOT / "examples").iterdir():
        if file.is_file():
            (folder / "examples" / file.name).write_text(_ported(file.read_text(), ports))
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    command = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{_RUN}"
    _script(programs / "customer-certificates", f"#!{sys.executable}\n{command}")
    _script(programs / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    # It is up to date, so `make` installs nothing.
    (folder / ".venv" / "run.stamp").touch()


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _environment(folder: Path, ports: Mapping[str, str]) -> dict[str, str]:
    # `make` sets the others: the `make` of a session would act as a part of it.
    foreign = re.compile("CC_|MAKE|MFLAGS")
    own = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    own.pop("env", None)
    home, temporary = folder.with_name("home"), folder.with_name("temporary")
    for private in (home, temporary):
        private.mkdir(exist_ok=True)
    return {
        **own,
        "PATH": PATH,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "CC_PORT": ports["9000"],
        "PYTHONUNBUFFERED": "1",
        "CC_WORKERS": "1",
    }
