"""Whoever waits for events is woken when some were recorded (Database.listen)."""

from threading import Condition

from .announcements import Announcements, Listen


class Changes:
    """Counts announcements. Who saw that there was nothing when the count was n waits for another
    count; so none falls between the look and the wait."""

    def __init__(self, listen: Listen) -> None:
        """`listen` is as Announcements takes it."""
        self._listen = listen
        self._changed = Condition()
        self._count = 0
        self._announcements: Announcements | None = None
        self._has_ended = False

    def count(self) -> int:
        """How many there were; it begins to listen when it is first asked."""
        with self._changed:
            if self._announcements is None and not self._has_ended:
                self._announcements = Announcements(self._listen, self._heard)
            return self._count

    def wait(self, count: int, seconds: float) -> None:
        """Returns when there are more than `count`, or after `seconds`, or where this ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != count or self._has_ended, max(seconds, 0))

    @property
    def has_ended(self) -> bool:
        """Whether nobody is to wait any more."""
        return self._has_ended

    def close(self) -> None:
        """Whoever waits, waits no more."""
        with self._changed:
            self._has_ended = True
            if self._announcements:
                self._announcements.close()
            self._changed.notify_all()

    def _heard(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
