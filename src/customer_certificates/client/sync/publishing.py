"""Makes a running server serve the files in the folder."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection

from . import hooks
from .files.folder import Folder
from .formats.haproxy import certificate_of, crt_list_line
from .formats.listing import Listing
from .hooks import PublishingFailure
from .runtime_api import Runtime, RuntimeFailure
from .state.state import State

# For more changes, a reload is less work for HAProxy than separate updates.
_MANY = 1000
# The minimum time between two reloads of a server.
PAUSE_SECONDS = 2.0


class Publisher(ABC):
    """Publishes changes to a server; a recorded change stays due until it succeeds."""

    def __init__(self, state: State, listing: Listing) -> None:
        self._state = state
        self._listing = listing
        self._published_at = -math.inf

    @abstractmethod
    def due_in(self) -> float | None:
        """Returns the seconds until something is due, or None if nothing is."""

    @abstractmethod
    def publish(self) -> None:
        """Publishes changes that are due.

        Raises PublishingFailure, OSError, sqlite3.Error. The changes are then still due.
        """

    @abstractmethod
    def unconfirmed(self) -> Collection[int] | None:
        """Returns certificates that the server may not serve as in the folder yet.

        None stands for all certificates.
        """

    def is_published(self) -> bool:
        """Returns whether a server that starts now reads the current files."""
        return not (self._state.fact("listing_due") or self._state.fact("reload_due"))

    def _set_published(self) -> None:
        with self._state.transaction():
            self._state.set_fact("listing_due", "")
            self._state.set_fact("reload_due", "")
        self._published_at = time.monotonic()

    def _listing_due_in(self) -> float:
        """Returns the seconds until the next listing may be written.

        The delay combines several changes into one.
        """
        return max(0.0, self._published_at + PAUSE_SECONDS - time.monotonic())


class ReloadPublisher(Publisher):
    """Publishes with a listing and a reload command."""

    def __init__(self, state: State, listing: Listing, reload: str | None) -> None:
        super().__init__(state, listing)
        self._reload = reload

    def due_in(self) -> float | None:
        return None if self.is_published() else self._listing_due_in()

    def unconfirmed(self) -> Collection[int] | None:
        return () if self.is_published() else None

    def publish(self) -> None:
        if self.due_in() == 0:
            self.publish_now()

    def publish_now(self) -> None:
        """Publishes without waiting for the pause to end."""
        self._listing.publish()
        hooks.run(self._reload)
        self._set_published()


class RuntimePublisher(Publisher):
    """Publishes over HAProxy's runtime socket. HAProxy reads the files when it starts."""

    def __init__(
        self,
        state: State,
        listing: Listing,
        runtime: Runtime,
        folder: Folder,
        refuse: Callable[[int, str], None],
        reload: ReloadPublisher | None,
    ) -> None:
        """`refuse` leaves out a certificate that HAProxy rejects.

        `reload` is used instead of the socket if there are many changes.
        """
        super().__init__(state, listing)
        self._runtime = runtime
        self._folder = folder
        self._root = folder.root
        self._refuse = refuse
        self._reload = reload
        self._is_synchronized = False

    def due_in(self) -> float | None:
        if not self._state.runtime_queue.is_empty():
            return 0.0
        return self._listing_due_in() if self._state.fact("listing_due") else None

    def unconfirmed(self) -> Collection[int] | None:
        if not self._is_synchronized:
            return None
        return {certificate_of(path) for path in self._state.runtime_queue.paths()}

    def publish(self) -> None:
        failure: PublishingFailure | RuntimeFailure | None = None
        try:
            self._synchronize()
            queued = self._state.runtime_queue.paths()
            if self._reload and len(queued) > _MANY:
                self._reload_all(self._reload)
            else:
                self._send_updates(queued)
        except RuntimeFailure as error:
            failure, self._is_synchronized = error, False
        except PublishingFailure as error:
            failure = error
        # An unresponsive HAProxy may be starting, and then reads the listing.
        if self._state.fact("listing_due") and (failure or not self._listing_due_in()):
            self._listing.publish()
            self._set_published()
        if failure:
            raise PublishingFailure(str(failure))

    def _reload_all(self, publisher: ReloadPublisher) -> None:
        publisher.publish_now()
        with self._state.transaction():
            self._state.runtime_queue.clear()
            # The next connection compares what the new process has loaded.
            self._state.set_fact("process", "")

    def _synchronize(self) -> None:
        """Queues the differences if this is not the process that received the updates."""
        process = self._runtime.process()
        if self._is_synchronized and process.name == self._state.fact("process"):
            return
        root = f"{self._root}/"
        loaded = {path.removeprefix(root) for path in self._runtime.loaded()}
        expected = {path for path, _ in self._state.selection.all_filters()}
        # The process may have read these files before they changed.
        is_other = process.name != self._state.fact("process")
        changed = self._state.certificates.changed_since(process.started) if is_other else []
        with self._state.transaction():
            removed = [path for path in loaded - expected if path.startswith("certificates/")]
            self._state.runtime_queue.add([*(expected - loaded), *changed, *removed])
            self._state.set_fact("process", process.name)
        self._is_synchronized = True

    def _send_updates(self, paths: list[str]) -> None:
        """Sends new certificates first, so that every name always has one."""
        served, others = list[tuple[str, str]](), list[tuple[str, str]]()
        failures, failed = list[str](), set[int]()
        for path in paths:
            line = crt_list_line(f"{self._root}/{path}", self._state.selection.filters_at(path))
            (served if line else others).append((path, line))
        # Then old lines of renewed certificates: a wildcard that excludes another user's name must
        # be in place before that user's certificate is removed.
        renewed = {certificate_of(path) for path, _ in served}
        others.sort(key=lambda update: certificate_of(update[0]) not in renewed)
        for path, line in served + others:
            file = str(self._root / path)
            if not line and certificate_of(path) in failed:
                # The previous version is served until the new one is.
                continue
            try:
                if line:
                    self._runtime.put(file, self._folder.read(path).decode("ascii"), line)
                else:
                    self._runtime.drop(file)
            except RuntimeFailure as failure:
                if failure.is_general:
                    raise
                failed.add(certificate_of(path))
                if not failure.is_refusal:
                    failures.append(str(failure))
                    continue
                self._refuse(certificate_of(path), str(failure))
            with self._state.transaction():
                self._state.runtime_queue.remove(path)
        if failures:
            raise PublishingFailure(f"{failures[0]} ({len(failures)} certificates)")
