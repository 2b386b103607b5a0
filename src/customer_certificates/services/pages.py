"""Pages of lists."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, tuple_

from ..gateways.database import int_param, time_param
from ..gateways.database.prepared import Row

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST_ID = 2**63 - 1
# A thousand certificates with as many hostnames as possible would be hundreds of megabytes.
PAGE_SIZE = 4 * 2**20
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class Cursor(NamedTuple):
    """The position of an item in a list that is ordered by a time, then by id.

    A page starts at the right item even if the item before it was deleted or has changed. A list
    that is ordered by id alone ignores the time.
    """

    time: datetime
    id: int

    def __str__(self) -> str:
        return f"{(self.time - _EPOCH) // _MICROSECOND}_{self.id}"


# Before every item.
START = Cursor(datetime.min.replace(tzinfo=UTC), 0)
CURSOR = r"^-?[0-9]{1,18}_[0-9]{1,18}$(?!\n)"


def cursor_of(text: str) -> Cursor | None:
    """Returns the cursor that is written as `text`, or None if none is."""
    if not re.fullmatch(CURSOR, text, re.ASCII):
        return None
    time, number = map(int, text.split("_"))
    return Cursor(_EPOCH + min(max(time, _FIRST), _LAST) * _MICROSECOND, number)


def comes_after(time: Any, number: Any) -> ColumnElement[bool]:
    """Returns whether a row comes after the position of the parameters `after_values`."""
    after = tuple_(time_param("after_time"), int_param("after_id"))
    return tuple_(time, number) > after


def after_values(after: Cursor) -> dict[str, Any]:
    """Returns the parameters of `comes_after`."""
    return {"after_time": after.time, "after_id": after.id}


class Page(NamedTuple, Generic[T]):
    """Items of a list after a given one, and the `after` of the next page (None: no more items)."""

    items: list[T]
    next_after: int | None


def page_of(rows: Sequence[Row], limit: int, view: Callable[[Row], T], key: str = "id") -> Page[T]:
    """Returns the first `limit` rows as a page; one more row shows that there is another page.

    `view` makes an item from a row. `key` is the attribute of an item that `after` refers to.
    """
    items = [view(row) for row in rows[:limit]]
    return Page(items, getattr(items[-1], key) if len(rows) > limit else None)


class KeysetPage(NamedTuple, Generic[T]):
    """Items of a list that is ordered by a time, after a cursor, and the cursor of the last one.

    `next_after` is None if there are no more items.
    """

    items: list[T]
    next_after: Cursor | None


def keyset_page(
    rows: Sequence[Row], limit: int, view: Callable[[Row], T], time: str | None = "not_after"
) -> KeysetPage[T]:
    """Returns the first `limit` rows as a page; one more row shows that there is another page.

    `time` is the attribute of an item that orders the list. None: the id orders it. A page ends
    early once its texts reach 4 MiB.
    """
    items: list[T] = []
    size = 0
    for row in rows[:limit]:
        items.append(view(row))
        size += sum(len(value) for value in row if isinstance(value, str))
        if size > PAGE_SIZE:
            break
    if len(items) == len(rows):
        return KeysetPage(items, None)
    last: Any = items[-1]
    return KeysetPage(items, Cursor(getattr(last, time) if time else _EPOCH, last.id))
