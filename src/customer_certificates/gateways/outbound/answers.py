"""What is read of an answer: its status, when to come back, its beginning."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import NamedTuple

_KEPT_BYTES = 1024
# A connection is worth reading this much for; with more to come it is closed.
_READ_BYTES = 64 * 1024
_MOST_RETRY_AFTER = 24 * 3600


class Answer(NamedTuple):
    """`retry_after` and `seconds`, what the attempt took, are in seconds; `beginning` is the first
    kilobyte of the body, or what there was of it in time."""

    status: int
    retry_after: float | None
    beginning: bytes
    seconds: float


def read_body(response: HTTPResponse) -> tuple[bytes, bool]:
    """The body's first kilobyte, and whether the whole was read and the connection is good for
    another request. A body that breaks off or is late is as good as it came: the status is here."""
    beginning, total = b"", 0
    try:
        while total < _READ_BYTES and (part := response.read1(_READ_BYTES - total)):
            beginning += part[: _KEPT_BYTES - len(beginning)]
            total += len(part)
    except (HTTPException, OSError):
        return beginning, False
    # One with a length says how much of it is left, one in chunks ends by itself.
    is_whole = response.length == 0 or (response.length is None and response.isclosed())
    return beginning, is_whole and not response.will_close


def retry_after(text: str | None, now: Callable[[], datetime]) -> float | None:
    """What a Retry-After header says (RFC 9110, 10.2.3), in seconds from now, a day at most; None
    where it says nothing that can be read."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), _MOST_RETRY_AFTER))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now()).total_seconds(), 0.0), float(_MOST_RETRY_AFTER))
