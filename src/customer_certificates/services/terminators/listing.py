"""Lists terminators, how far each one lags, and how many certificates it serves."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy import bindparam, select

from ...field_docs import doc
from ...gateways.database import Database, int_param
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import count_up_to, ids_as_json, ids_of, names_of
from ...models import Serving, Terminator
from ..pages import Page, page_of
from .feed import Feed


class TerminatorView(msgspec.Struct):
    """A terminator, and its position in the feed."""

    id: Annotated[int, doc("The terminator's id.", 1, ge=1)]
    name: Annotated[str, doc("The name that it reports.", "edge-1")]
    format: Annotated[str, doc("The terminator's software.", "nginx")]
    seen_at: Annotated[datetime, doc("When it last reported.", tz=True)]
    behind: Annotated[
        int | None, doc("Changes not received yet, 1,000 at most. null: it needs a snapshot.")
    ]
    behind_since: Annotated[datetime | None, doc("When the first of these changes happened.")]
    errors: Annotated[list[str], doc("The error that it last reported.")]


# Served certificates are counted up to here.
MOST_SERVED = 1000
_COLUMNS = ("id", "name", "format", "seen_at", "cursor", "errors")


class TerminatorPages:
    """Reads the reported terminators, and asks the feed for the lag of each."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._feed = feed
        self._page = database.prepare(
            select(*(getattr(Terminator, name) for name in _COLUMNS))
            .where(Terminator.id > bindparam("after"))
            .order_by(Terminator.id)
            .limit(int_param("limit")),
            tenant=None,
        )
        self._served = database.prepare(_served(), tenant=None)

    def page(self, after: int, limit: int) -> Page[TerminatorView]:
        """Returns a page of terminators by id."""
        rows = self._page(after=after, limit=limit + 1)
        lags = iter(self._feed.lags([row[4] for row in rows[:limit]]))

        def view(row: Row) -> TerminatorView:
            terminator_id, name, kind, seen_at, _, errors = row
            return TerminatorView(terminator_id, name, kind, seen_at, *next(lags), names_of(errors))

        return page_of(rows, limit, view)

    def served(self, ids: Iterable[int]) -> dict[int, int]:
        """Returns how many certificates each terminator says that it serves, at most MOST_SERVED.

        Raises Unavailable.
        """
        return dict(self._served(ids=ids_as_json(ids)))


def _served() -> Any:
    """Selects terminators, and the number of certificates that each one serves."""
    is_served = Serving.terminator_id == Terminator.id, Serving.serves
    number = count_up_to(MOST_SERVED, *is_served, correlated=[Terminator])
    return select(Terminator.id, number).where(Terminator.id.in_(ids_of("ids")))
