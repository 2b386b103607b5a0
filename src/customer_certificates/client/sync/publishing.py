"""What makes a server that runs serve what is in the folder."""

import math
import shlex
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

from .folder import Folder
from .haproxy import crt_list_line
from .layout import Layout
from .runtime import Runtime, RuntimeFailure
from .state import State

_COMMAND_SECONDS = 120
# From here on, reading everything again is less work for HAProxy than being told of each.
_MANY = 1000
_PAUSE_SECONDS = 2.0


class PublishingFailure(Exception):  # noqa: N818
    """The server does not serve what is in the folder yet; the message says why."""


class Publisher(ABC):
    """What is due is recorded, and stays due until it is done."""

    def __init__(self, folder: Folder, state: State, layout: Layout) -> None:
        self._folder = folder
        self._state = state
        self._layout = layout
        self._listed = -math.inf

    @abstractmethod
    def due_in(self) -> float | None:
        """In how many seconds there is something to publish; None: nothing is known to be due."""

    @abstractmethod
    def publish(self) -> None:
        """Does what is due by now. Raises PublishingFailure, OSError, sqlite3.Error; then it is
        still due."""

    def _write_listing(self) -> None:
        with self._folder.writer(self._layout.listing) as write:
            self._layout.write_listing(write)
        self._folder.switch()

    def _note_done(self) -> None:
        with self._state.transaction():
            self._state.note("listing_due", "")
            self._state.note("reload_due", "")
        self._listed = time.monotonic()

    def _listing_due_in(self) -> float:
        """Not again so soon: several changes are then done in one."""
        return max(0.0, self._listed + _PAUSE_SECONDS - time.monotonic())


class Files(Publisher):
    """The listing, and the commands that check it and have it read."""

    def __init__(
        self, folder: Folder, state: State, layout: Layout, check: str | None, reload: str | None
    ) -> None:
        super().__init__(folder, state, layout)
        self._check = check
        self._reload = reload

    def due_in(self) -> float | None:
        is_due = self._state.fact("listing_due") or self._state.fact("reload_due")
        return self._listing_due_in() if is_due else None

    def publish(self) -> None:
        if self.due_in() == 0:
            self.publish_now()

    def publish_now(self) -> None:
        """The same, however short ago the last time was."""
        if self._state.fact("listing_due"):
            self._replace_listing()
        else:
            _run(self._check)
        _run(self._reload)
        self._note_done()

    def _replace_listing(self) -> None:
        """The one before is put back where the new one does not check out."""
        listing, previous = self._layout.listing, f"{self._layout.listing}.previous"
        if is_replacing := (self._folder.root / listing).exists():
            self._folder.link(listing, previous)
        self._write_listing()
        try:
            _run(self._check)
        except PublishingFailure:
            if is_replacing:
                self._folder.link(previous, listing)
                self._folder.switch()
            raise
        finally:
            self._folder.remove(previous)


class Told(Publisher):
    """HAProxy is told over its runtime socket; the files are for when it starts again."""

    def __init__(
        self, folder: Folder, state: State, layout: Layout, socket: Path, reload: Files | None
    ) -> None:
        """`reload` is what to do instead where there is much to tell."""
        super().__init__(folder, state, layout)
        self._runtime = Runtime(socket, str(folder.root / layout.listing))
        self._reload = reload
        self._has_met = False

    def due_in(self) -> float | None:
        if not self._state.is_sent():
            return 0.0
        return self._listing_due_in() if self._state.fact("listing_due") else None

    def publish(self) -> None:
        is_told = False
        try:
            self._meet()
            queued = self._state.queued()
            if self._reload and len(queued) > _MANY:
                self._have_it_read(self._reload)
            else:
                self._tell(queued)
            is_told = True
        except RuntimeFailure as failure:
            raise PublishingFailure(str(failure)) from None
        finally:
            # Who cannot be told may be about to start, and reads it then.
            if self._state.fact("listing_due") and not (is_told and self._listing_due_in()):
                self._write_listing()
                self._note_done()

    def _have_it_read(self, files: Files) -> None:
        files.publish_now()
        with self._state.transaction():
            self._state.sent_all()
            # What was read shows once the new process is met.
            self._state.note("process", "")

    def _meet(self) -> None:
        """Where it is another process than the one that was told, finds what that one lacks."""
        process = self._runtime.process()
        if self._has_met and process.name == self._state.fact("process"):
            return
        root = f"{self._folder.root}/"
        loaded = {path.removeprefix(root) for path in self._runtime.loaded()}
        wanted = {path for path, _ in self._state.all_own_names_served()}
        # It may have read these before they were changed.
        is_other = process.name != self._state.fact("process")
        changed = self._state.changed_since(process.started) if is_other else []
        with self._state.transaction():
            self._state.queue([*(wanted - loaded), *changed])
            self._state.queue(one for one in loaded - wanted if one.startswith("certificates/"))
            self._state.note("process", process.name)
        self._has_met = True

    def _tell(self, paths: list[str]) -> None:
        """New certificates first: no name is without one for a moment."""
        served, others = list[tuple[str, str]](), list[tuple[str, str]]()
        failures = []
        for path in paths:
            names = self._state.own_names_at(path)
            line = crt_list_line(f"{self._folder.root}/{path}", names) if names else ""
            (served if line else others).append((path, line))
        for path, line in served + others:
            file = self._folder.root / path
            try:
                if line:
                    self._runtime.put(str(file), file.read_text("ascii"), line)
                else:
                    self._runtime.drop(str(file))
            except RuntimeFailure as failure:
                if failure.is_general:
                    raise
                failures.append(str(failure))
                continue
            with self._state.transaction():
                self._state.sent(path)
        if failures:
            raise PublishingFailure(f"{failures[0]} ({len(failures)} certificates)")


def _run(command: str | None) -> None:
    if command is None:
        return
    try:
        done = subprocess.run(  # noqa: S603 - the command is the operator's
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise PublishingFailure(f"`{command}` cannot be run: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise PublishingFailure(f"`{command}` ended with {done.returncode}: {said}")
