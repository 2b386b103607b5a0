"""Pagination with `limit`, `after` and a Link header to the next page."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from falcon import Request, Response

from ..services.etags import encode
from ..services.pages import Cursor, Page, cursor_of
from .request_parsing import Query

_DEFAULT_LIMIT = 100
_LARGEST_LIMIT = 1000


class Slice(NamedTuple):
    """At most `limit` items, from the first one whose id is greater than `after`."""

    after: int
    limit: int


def requested(req: Request) -> Slice:
    """Returns the requested page of a list without other parameters. Raises Invalid."""
    query = Query(req)
    requested_slice = slice_of(query)
    query.check()
    return requested_slice


def slice_of(query: Query) -> Slice:
    """Returns the requested page."""
    return Slice(
        after=query.whole("after", 0, 0),
        limit=query.whole("limit", _DEFAULT_LIMIT, 1, _LARGEST_LIMIT),
    )


def slice_by_cursor(query: Query) -> tuple[Cursor | None, int]:
    """Returns the cursor before the page, and the maximum number of items."""
    after = query.parsed("after", cursor_of, "a cursor from a Link header", "1798016400000000_1")
    return after, query.whole("limit", _DEFAULT_LIMIT, 1, _LARGEST_LIMIT)


def slice_by_hostname(query: Query) -> tuple[str, int]:
    """Returns the hostname before the page and the maximum number of items."""
    after = query.hostname("after") if query.has("after") else ""
    return after, query.whole("limit", _DEFAULT_LIMIT, 1, _LARGEST_LIMIT)


def send(req: Request, resp: Response, page: Page[Any]) -> None:
    """Responds with the items of a page, and a link to the next page."""
    link_next(req, resp, page.next_after)
    resp.data = encode(page.items)


def link_next(req: Request, resp: Response, next_after: int | str | Cursor | None) -> None:
    """Sets the Link header (RFC 8288) if there are more items."""
    if next_after is not None:
        params = {**req.params, "after": str(next_after)}
        resp.set_header("Link", f'<{req.path}?{urlencode(params, doseq=True)}>; rel="next"')
