"""Records when tokens were last used, to the minute, without delaying responses."""

from contextlib import suppress
from datetime import datetime, timedelta
from threading import Event, Thread

from sqlalchemy import bindparam, or_, update

from ...errors import Unavailable
from ...gateways.database import EVERYBODY, Database, time_param
from ...models import Token

_PRECISION = timedelta(minutes=1)
_FLUSH_SECONDS = 1
_MOST_PENDING = 10_000


class TokenUsage:
    """Writes in its own thread. If the database fails, the record is lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[int, datetime] = {}
        self._closing = Event()
        used = time_param("used")
        before = time_param("before")
        self._write = database.prepare(
            update(Token)
            .where(
                Token.id == bindparam("token_id"),
                or_(Token.last_used_at.is_(None), Token.last_used_at <= before),
            )
            .values(last_used_at=used)
            .returning(Token.id)
        )
        self._thread = Thread(target=self._run, name="last-uses", daemon=True)
        self._thread.start()

    def record(self, token_id: int, stored: datetime | None, now: datetime) -> None:
        """Records a use at `now`; `stored` is the time in the database."""
        if (stored is None or now - stored >= _PRECISION) and len(self._pending) < _MOST_PENDING:
            self._pending[token_id] = now

    def close(self) -> None:
        """Writes the remaining records."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while self._pending:
            token_id, used = self._pending.popitem()
            with suppress(Unavailable), self._database.begin(EVERYBODY) as session:
                session.run(self._write, token_id=token_id, used=used, before=used - _PRECISION)
