"""The command `sync`: keeps a folder up to date with the active certificates."""

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from rich.text import Text

from ...terminal import escaped, say, show_json
from ..api.server_url import is_private
from ..text import console
from . import status
from .feed import Feed
from .files.directory import UntrustedError
from .files.folder import Folder, FolderError, is_in_use
from .formats.haproxy import Haproxy
from .formats.layout import Layout
from .formats.listing import Listing
from .formats.nginx import Nginx
from .formats.pem import Pem
from .loop import Agent, Identity, Parts
from .publishing import Publisher, ReloadPublisher, RuntimePublisher
from .reconciler import Damaged, Reconciler
from .runtime_api import Runtime
from .state.state import State

_LAYOUTS: dict[str, type[Layout]] = {"nginx": Nginx, "haproxy": Haproxy, "pem": Pem}


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """The options of the command."""

    format: str
    out: Path
    server: str
    name: str
    check: str | None = None
    reload: str | None = None
    runtime: Path | None = None
    group: str | None = None
    metrics: Path | None = None
    ca: Path | None = None


def run(
    options: SyncOptions,
    read_token: Callable[[], str | None],
    now: Callable[[], datetime],
    *,
    once: bool,
) -> int:
    """Returns the exit code.

    0: stopped by SIGTERM or Ctrl-C, or everything is served. 1: something is not served. 2: the
    folder cannot be used.
    """
    if not is_private(options.server):
        say(f"warning: private keys are fetched from {escaped(options.server)} without TLS.")
    root = options.out.absolute()
    try:
        with (
            closing(Folder(root, options.group)) as folder,
            closing(State(folder.state_file())) as state,
            closing(Feed(options.server, read_token, ca=options.ca)) as feed,
        ):
            agent = _agent(options, folder, state, feed, now)
            if once:
                return int(not agent.run_once())
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: agent.stop())
            agent.run()
    except (FolderError, UntrustedError, ValueError) as error:
        say(str(error))
        return 2
    except (OSError, sqlite3.Error) as error:
        say(f"{root}: {error}")
        return 2
    return 0


def _agent(
    options: SyncOptions, folder: Folder, state: State, feed: Feed, now: Callable[[], datetime]
) -> Agent:
    """Raises ValueError, OSError, sqlite3.Error if the folder cannot be used."""
    _adopt(state, folder, options)
    layout = _LAYOUTS[options.format](folder, state)
    reconciler = Reconciler(folder, state, layout, has_runtime=options.runtime is not None)

    def refuse(certificate_id: int, reason: str) -> None:
        reconciler.refuse(certificate_id, reason, now())

    listing = Listing(folder, state, layout, options.check, refuse)
    listing.recover()
    try:
        reconciler.prepare(now())
    except Damaged as damaged:
        say(str(damaged))
    reloading = ReloadPublisher(state, listing, options.reload)
    publisher: Publisher = reloading
    if options.runtime:
        runtime = Runtime(options.runtime, str(folder.root / layout.listing))
        fallback = reloading if options.reload else None
        publisher = RuntimePublisher(state, listing, runtime, folder, refuse, fallback)
    parts = Parts(feed, state, reconciler, publisher)
    identity = Identity(options.name, options.format, options.server)
    return Agent(identity, parts, folder, options.metrics, now)


def _adopt(state: State, folder: Folder, options: SyncOptions) -> None:
    """Brings an existing folder in line with the options.

    Discards the cursor of another service, and changes the group of the files if --group changed.
    Raises ValueError if the folder has another format.
    """
    existing = state.fact("format")
    if existing not in ("", options.format):
        raise ValueError(
            f"{folder.root} holds files for {existing}. Choose another folder for {options.format}."
        )
    access = f"group {folder.access}"
    if state.fact("access") != access:
        folder.grant_access()
    with state.transaction():
        if state.fact("server") != options.server:
            state.set_fact("cursor", "")
        state.set_fact("format", options.format)
        state.set_fact("server", options.server)
        state.set_fact("access", access)


def show_status(folder: Path, *, as_json: bool) -> int:
    """Prints the status of the folder's agent. Returns the exit code: 1 if there is a problem."""
    try:
        found = status.read(folder)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        say(
            f"No agent has written a status to {folder}: {reason}. Check --out, and start the "
            "agent."
        )
        return 1
    is_running = is_in_use(folder)
    exit_code = int(not (found.is_current and is_running))
    if as_json:
        show_json({**msgspec.structs.asdict(found), "is_running": is_running})
        return exit_code
    heard = f"last response {_second(found.heard_at)}" if found.heard_at else "no response yet"
    process = f"by process {found.process}" if is_running else "by an agent that is not running"
    lines = {
        "terminator": f"{found.terminator} ({found.format})",
        "service": f"{found.server}, {heard}",
        "served": f"{found.served} of {found.certificates} certificates, {found.hostnames} names",
        "updated": f"{_second(found.at)} {process}",
    }
    for name, value in lines.items():
        console().print(Text(f"{name:12}{escaped(value)}"))
    for problem in found.problems:
        console().print(Text(f"{'problem':12}{escaped(problem)}", "red"))
    return exit_code


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
