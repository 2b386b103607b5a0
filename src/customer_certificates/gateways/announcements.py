"""Events are heard of as they are committed: PostgreSQL's LISTEN, on a connection of its own."""

import logging
from collections.abc import Callable
from threading import Event, Thread

import psycopg
from sqlalchemy.exc import DBAPIError

from . import postgresql
from .database import migration_engine

_LOOK_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Announcements:
    """Calls `heard` for what is announced, from a thread of its own; and once whenever it begins to
    listen, as something may have been missed.

    Nobody is to rely on it: SQLite announces nothing, and a connection may break. Who waits for
    events looks for them from time to time as well.
    """

    def __init__(self, url: str, heard: Callable[[], None]) -> None:
        self._heard = heard
        self._closing = Event()
        self._engine = migration_engine(url)
        if self._engine.dialect.name == "postgresql":
            Thread(target=self._run, name="announcements", daemon=True).start()

    def close(self) -> None:
        """Listens no more, within a second."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen()
            except (DBAPIError, psycopg.Error) as error:
                _log.warning("announcements of events are not heard just now: %s", error)
                self._closing.wait(_LOOK_SECONDS)

    def _listen(self) -> None:
        pooled = self._engine.raw_connection()
        try:
            postgresql.listen(pooled.driver_connection, self._heard, self._closing)
        finally:
            pooled.invalidate()
