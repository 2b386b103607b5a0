"""What was unwrapped by a master key is at hand for minutes: unwrapping may ask another machine."""

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

# With what a look may come late, less than five minutes.
KEPT_SECONDS = 230.0
_LOOK_SECONDS = 60.0
_MOST = 10_000
# The row: the id of whose it is, its version, what is wrapped.
Name = tuple[int, int, bytes]
# Says of some ids, of whose they are, which still have rows; may raise Unavailable.
Present = Callable[[Collection[int]], Collection[int]]


def present_in(database: Database, owner: Any) -> Present:
    """Asks the table that has the column `owner`, of ids whose the rows are."""
    statement = database.prepare(select(owner).where(owner.in_(ids_of("ids"))), tenant=None)
    return lambda ids: [row[0] for row in statement(ids=ids_as_json(ids))]


class SecretCache:
    """What was unwrapped, by the row that it was unwrapped from: who did not just read that row
    does not find it. It ends with its time, or soon after its row, asked for or not."""

    def __init__(
        self,
        present: Present,
        kept_seconds: float = KEPT_SECONDS,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        """It is kept for `kept_seconds` at most; every `look_seconds`, `present` is asked."""
        self._present = present
        self._kept_seconds = kept_seconds
        self._look_seconds = look_seconds
        self._lock = Lock()
        self._held: dict[Name, tuple[float, Secret]] = {}
        self._timer: Timer | None = None

    def get(self, name: Name) -> Secret | None:
        """What was put under `name`, unless its time is over."""
        held = self._held.get(name)
        return held[1] if held and held[0] > monotonic() else None

    def put(self, name: Name, secret: Secret) -> None:
        """Keeps `secret` for its time."""
        with self._lock:
            self._held.pop(name, None)
            self._held[name] = (monotonic() + self._kept_seconds, secret)
            if len(self._held) > _MOST:
                del self._held[next(iter(self._held))]
            if self._timer is None:
                self._start()

    def clear(self) -> None:
        """Forgets all; nothing is asked any more."""
        with self._lock:
            self._held.clear()
            timer, self._timer = self._timer, None
        if timer:
            timer.cancel()
            timer.join()

    def _start(self) -> None:
        self._timer = Timer(min(self._look_seconds, self._kept_seconds), self._sweep)
        self._timer.daemon = True
        self._timer.start()

    def _sweep(self) -> None:
        with self._lock:
            asked = {name[0] for name in self._held}
        gone: set[int] = set()
        try:
            with suppress(Unavailable):
                gone = asked.difference(self._present(asked))
        finally:
            self._end(gone)

    def _end(self, gone: set[int]) -> None:
        with self._lock:
            now = monotonic()
            for name, (until, _) in [*self._held.items()]:
                if until <= now or name[0] in gone:
                    del self._held[name]
            self._timer = None
            if self._held:
                self._start()
