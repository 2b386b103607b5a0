"""Pages of lists."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from ..gateways.database.prepared import Row

T = TypeVar("T")


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
