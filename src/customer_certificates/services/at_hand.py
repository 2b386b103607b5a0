"""What was unwrapped by a master key is at hand for minutes: unwrapping may ask another machine."""

from threading import Lock, Timer
from time import monotonic

from ..crypto.secret import Secret

# With what a sweep may come late, less than five minutes.
KEPT_SECONDS = 290.0
_SWEEP_SECONDS = 1.0
_MOST = 10_000
# The row: the id of whose it is, its version, what is wrapped.
Name = tuple[int, int, bytes]


class AtHand:
    """What was unwrapped, by the row that it was unwrapped from: who did not just read that row
    does not find it. A timer ends it, asked for or not."""

    def __init__(self, kept_seconds: float = KEPT_SECONDS) -> None:
        self._kept_seconds = kept_seconds
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
                self._start(self._kept_seconds)

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._held.clear()
            if self._timer:
                self._timer.cancel()

    def _start(self, seconds: float) -> None:
        self._timer = Timer(seconds, self._sweep)
        self._timer.daemon = True
        self._timer.start()

    def _sweep(self) -> None:
        with self._lock:
            now = monotonic()
            # The oldest come first: they are held for the same time each.
            while self._held and (oldest := next(iter(self._held.items())))[1][0] <= now:
                del self._held[oldest[0]]
            self._timer = None
            if self._held:
                self._start(max(next(iter(self._held.values()))[0] - now, _SWEEP_SECONDS))
