"""Listens for committed events in a separate thread (Database.listen)."""

import logging
from collections.abc import Callable
from threading import Event, Thread

from ...errors import Unavailable

Listen = Callable[[Callable[[], None], Event], None]

_RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Notifications:
    """Calls `on_notification` for each notification.

    Also calls it whenever it begins to listen, as notifications may have been missed.
    """

    def __init__(self, listen: Listen, on_notification: Callable[[], None]) -> None:
        """`listen(on_notification, closing)` calls `on_notification` until `closing` is set.

        It raises Unavailable if it cannot continue.
        """
        self._listen = listen
        self._on_notification = on_notification
        self._closing = Event()
        Thread(target=self._run, name="notifications", daemon=True).start()

    def close(self) -> None:
        """Stops listening within a second."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen(self._on_notification, self._closing)
            except Unavailable:
                _log.warning("Cannot listen for notifications: the database does not respond")
                self._closing.wait(_RETRY_SECONDS)
            except Exception:
                _log.exception("Cannot listen for notifications")
                self._closing.wait(_RETRY_SECONDS)
