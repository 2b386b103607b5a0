"""Lists terminators, and how far each one lags."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import BigInteger, bindparam, select

from ...gateways.database import Database
from ...gateways.database.sql_functions import names_of
from ...models import Terminator
from .feed import Feed


class TerminatorView(msgspec.Struct):
    """A terminator, and its position in the feed."""

    id: Annotated[int, Meta(ge=1, description="The terminator's id.", examples=[1])]
    name: Annotated[str, Meta(description="The name that it reports.", examples=["edge-1"])]
    format: Annotated[str, Meta(description="The terminator's software.", examples=["nginx"])]
    seen_at: Annotated[datetime, Meta(tz=True, description="When it last reported.")]
    behind: Annotated[
        int | None,
        Meta(description="Changes not received yet, 1,000 at most. null: it needs a snapshot."),
    ]
    behind_since: Annotated[
        datetime | None, Meta(description="When the first of these changes happened.")
    ]
    errors: Annotated[list[str], Meta(description="The error that it last reported.")]


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
            .limit(bindparam("limit", type_=BigInteger)),
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
