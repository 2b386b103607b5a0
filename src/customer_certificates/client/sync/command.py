"""The command `sync`: keeps a folder up to date with the active certificates."""

import signal
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.text import Text

from ...terminal import escaped, say, show_json
from ..api.server_url import is_private
from ..text import console
from . import status
from .feed import Feed
from .files.directory import UntrustedError
from .files.folder import Folder, FolderError, is_kept
from .formats.haproxy import Haproxy
from .formats.layout import Layout
from .formats.listing import Listing
from .formats.nginx import Nginx
from .formats.pem import Pem
from .loop import Agent, Identity, Parts
from .publishing import Files, Publisher, Told
from .reconciler import Damaged, Reconciler
from .runtime_api import Runtime
from .state import State

_LAYOUTS: dict[str, type[Layout]] = {"nginx": Nginx, "haproxy": Haproxy, "pem": Pem}


class SyncOptions(NamedTuple):
    """The options of the command."""

    format: str
    out: Path
    server: str
    name: str
    check: str | None
    reload: str | None
    runtime: Path | None
    group: str | None
    metrics: Path | None
    ca: Path | None = None


def run(
    wish: SyncOptions,
    read_token: Callable[[], str | None],
    now: Callable[[], datetime],
    *,
    once: bool,
) -> int:
    """Returns the exit code.

    0: ended by SIGTERM or Ctrl-C, or everything is served. 1: something is not served. 2: the
    folder cannot be used.
    """
    if not is_private(wish.server):
        say(f"warning: private keys are fetched from {escaped(wish.server)} without TLS.")
    root = wish.out.absolute()
    try:
        with ExitStack() as stack:
            folder = Folder(root, wish.group)
            stack.callback(folder.close)
            state = State(folder.state_file())
            stack.callback(state.close)
            feed = Feed(wish.server, read_token, ca=wish.ca)
            stack.callback(feed.close)
            agent = _agent(wish, folder, state, feed, now)
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
    wish: SyncOptions, folder: Folder, state: State, feed: Feed, now: Callable[[], datetime]
) -> Agent:
    """Raises ValueError, OSError, sqlite3.Error if the folder cannot be used."""
    _claim(state, folder.root, wish)
    _grant(state, folder)
    layout = _LAYOUTS[wish.format](folder, state)
    mirror = Reconciler(folder, state, layout, tells_a_server=wish.runtime is not None)

    def refuse(certificate_id: int, reason: str) -> None:
        mirror.refuse(certificate_id, reason, now())

    listing = Listing(folder, state, layout, wish.check, refuse)
    listing.recover()
    try:
        mirror.prepare(now())
    except Damaged as damaged:
        say(str(damaged))
    publisher: Publisher
    publisher = files = Files(state, listing, wish.reload)
    if wish.runtime:
        runtime = Runtime(wish.runtime, str(folder.root / layout.listing))
        fallback = files if wish.reload else None
        publisher = Told(state, listing, runtime, folder, refuse, fallback)
    parts = Parts(feed, state, mirror, publisher)
    identity = Identity(wish.name, wish.format, wish.server)
    return Agent(identity, parts, folder, wish.metrics, now)


def _claim(state: State, root: Path, wish: SyncOptions) -> None:
    """Checks the folder's format, and discards the cursor of another service."""
    kept_for = state.fact("format")
    if kept_for not in ("", wish.format):
        raise ValueError(
            f"{root} holds files for {kept_for}. Choose another folder for {wish.format}."
        )
    with state.transaction():
        if state.fact("server") != wish.server:
            state.note("cursor", "")
        state.note("format", wish.format)
        state.note("server", wish.server)


def _grant(state: State, folder: Folder) -> None:
    """Changes the group of existing files if --group changed."""
    before = f"group {folder.access}"
    if state.fact("access") != before:
        folder.grant_access()
        with state.transaction():
            state.note("access", before)


def show_status(folder: Path, *, as_json: bool) -> int:
    """Prints the status of the folder's agent. Returns the exit code: 1 if there is a problem."""
    try:
        found = status.read(folder)
    except (OSError, ValueError) as error:
        say(
            f"No agent has written a status to {folder}: {error}. Check --out, and start the agent."
        )
        return 1
    is_running = is_kept(folder)
    exit_code = int(not (found.is_current and is_running))
    if as_json:
        show_json({**msgspec.structs.asdict(found), "is_running": is_running})
        return exit_code
    terminal = console()
    heard = f"last response {_second(found.heard_at)}" if found.heard_at else "no response yet"
    process = f"by process {found.process}" if is_running else "by an agent that is not running"
    lines = {
        "terminator": f"{found.terminator} ({found.format})",
        "service": f"{found.server}, {heard}",
        "served": f"{found.served} of {found.certificates} certificates, {found.hostnames} names",
        "updated": f"{_second(found.at)} {process}",
    }
    for name, value in lines.items():
        terminal.print(Text(f"{name:12}{escaped(value)}"))
    for problem in found.problems:
        terminal.print(Text(f"{'problem':12}{escaped(problem)}", "red"))
    return exit_code


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
