"""The end of the feed: the position up to which it can be read."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import and_, func, or_, select

from ...gateways.database import Database
from ...gateways.database.sql_functions import lineage, oldest_transaction
from ...models import Event, ServiceState
from ..events.log import HOSTNAMES_CHANGED
from .feed_cursors import Cursor

# Events are kept for 90 days. A reader that was away for longer may have missed some.
_KEPT = timedelta(days=89)
# The row of service_state that distinguishes this database from another of the same cluster.
BEGAN = "feed"

# The events that may change what is served: these of an active certificate, and WITHDRAWN.
OF_ACTIVE = (
    "certificate.activated",
    "certificate.replaced",
    "certificate.rolled_back",
    HOSTNAMES_CHANGED,
)
WITHDRAWN = "certificate.deactivated"
CHANGES = or_(
    Event.type == WITHDRAWN,
    and_(or_(*(Event.type == kind for kind in OF_ACTIVE)), Event.active.is_(True)),
)


class FeedHead(NamedTuple):
    """The current end of the log.

    `xid` is the oldest active transaction, `id` the last event of a database without such numbers.
    """

    epoch: str
    xid: int
    id: int

    def is_complete_from(self, cursor: Cursor, now: datetime) -> bool:
        """Returns whether the log has all events after the cursor."""
        oldest = (now - _KEPT).timestamp()
        is_past = cursor.xid <= self.xid if self.xid else cursor.id <= self.id
        return cursor.epoch == self.epoch and cursor.second > oldest and is_past


class FeedHeads:
    """Reads the current end of the log."""

    def __init__(self, database: Database) -> None:
        began = select(ServiceState.since).where(ServiceState.name == BEGAN).scalar_subquery()
        last_id = select(func.max(Event.id)).scalar_subquery()
        self._head = database.prepare(
            select(lineage(), began, oldest_transaction(), last_id), tenant=None
        )

    def read(self) -> FeedHead:
        """Returns the current end of the log. Raises Unavailable."""
        ((line, began, oldest, last_id),) = self._head()
        epoch = sha256(f"{line}/{began}".encode()).hexdigest()[:16]
        return FeedHead(epoch, oldest or 0, last_id or 0)
