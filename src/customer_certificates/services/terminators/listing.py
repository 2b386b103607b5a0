"""Lists terminators, and how far each one lags."""

from datetime import datetime
from typing import Annotated

import msgspec
from sqlalchemy import bindparam, select

from ...gateways.database import Database, int_param
from ...gateways.database.sql_functions import names_of
from ...models import Terminator
from ..schema import doc
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


class TerminatorPages:
    """Reads the reported terminators, and asks the feed for the lag of each."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._feed = feed
        self._page = database.prepare(
            select(
                Terminator.id,
                Terminator.name,
                Terminator.format,
                Terminator.seen_at,
                Terminator.cursor,
                Terminator.errors,
            )
            .where(Terminator.id > bindparam("after"))
            .order_by(Terminator.id)
            .limit(int_param("limit")),
            tenant=None,
        )

    def page(self, after: int, limit: int) -> tuple[list[TerminatorView], int | None]:
        """Returns at most `limit` terminators by id, and the `after` of the next page, if any.

        The page starts after the id `after`.
        """
        rows = self._page(after=after, limit=limit + 1)
        shown = rows[:limit]
        lags = self._feed.lags([row[4] for row in shown])
        views = [
            TerminatorView(terminator_id, name, kind, seen_at, *lag, names_of(errors))
            for (terminator_id, name, kind, seen_at, _, errors), lag in zip(
                shown, lags, strict=True
            )
        ]
        return views, views[-1].id if len(rows) > limit else None
