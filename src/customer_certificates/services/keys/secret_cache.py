"""Caches unwrapped secrets for minutes, because unwrapping may query another machine."""

from collections.abc import Callable, Collection
from contextlib import suppress
from threading import Lock, Timer
from time import monotonic
from typing import Any

from sqlalchemy import select

from ...crypto.secret import Secret
from ...errors import Unavailable
from ...gateways.database import Database
from ...gateways.database.sql_functions import ids_as_json, ids_of

# Plus the delay of a periodic check, this is less than five minutes.
KEPT_SECONDS = 230.0
_CHECK_SECONDS = 60.0
_MOST = 10_000
# Identifies the row: its owner's id, its version, the wrapped bytes.
Name = tuple[int, int, bytes]
# Returns those of the owners' ids that still have rows. Raises Unavailable.
ExistingIds = Callable[[Collection[int]], Collection[int]]


def existing_ids(database: Database, owner: Any) -> ExistingIds:
    """Returns a function that looks ids up in the table of the column `owner`."""
    statement = database.prepare(select(owner).where(owner.in_(ids_of("ids"))), tenant=None)
    return lambda ids: [row[0] for row in statement(ids=ids_as_json(ids))]


class SecretCache:
    """Unwrapped secrets, keyed by the content of their rows.

    Only callers that have just read the row can find its secret. An entry expires by itself, and
    soon after its row is deleted.
    """

    def __init__(
        self,
        existing: ExistingIds,
        kept_seconds: float = KEPT_SECONDS,
        check_seconds: float = _CHECK_SECONDS,
    ) -> None:
        """An entry is kept for `kept_seconds`; `existing` is called every `check_seconds`."""
        self._existing = existing
        self._kept_seconds = kept_seconds
        self._check_seconds = check_seconds
        self._lock = Lock()
        self._entries: dict[Name, tuple[float, Secret]] = {}
        self._timer: Timer | None = None

    def get(self, name: Name) -> Secret | None:
        """Returns the secret for `name`, unless it has expired."""
        entry = self._entries.get(name)
        return entry[1] if entry and entry[0] > monotonic() else None

    def put(self, name: Name, secret: Secret) -> None:
        """Stores the secret until it expires."""
        with self._lock:
            self._entries.pop(name, None)
            self._entries[name] = (monotonic() + self._kept_seconds, secret)
            if len(self._entries) > _MOST:
                del self._entries[next(iter(self._entries))]
            if self._timer is None:
                self._start()

    def clear(self) -> None:
        """Clears the cache, and stops the periodic check."""
        with self._lock:
            self._entries.clear()
            timer, self._timer = self._timer, None
        if timer:
            timer.cancel()
            timer.join()

    def _start(self) -> None:
        self._timer = Timer(min(self._check_seconds, self._kept_seconds), self._sweep)
        self._timer.daemon = True
        self._timer.start()

    def _sweep(self) -> None:
        with self._lock:
            owners = {name[0] for name in self._entries}
        deleted: set[int] = set()
        try:
            with suppress(Unavailable):
                deleted = owners.difference(self._existing(owners))
        finally:
            self._remove(deleted)

    def _remove(self, deleted: set[int]) -> None:
        with self._lock:
            now = monotonic()
            for name, (until, _) in [*self._entries.items()]:
                if until <= now or name[0] in deleted:
                    del self._entries[name]
            self._timer = None
            if self._entries:
                self._start()
