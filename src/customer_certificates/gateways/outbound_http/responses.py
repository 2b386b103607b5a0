"""Reads responses: their status, Retry-After and the beginning of their body."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple

from .deadline import Incoming

_START_BYTES = 1024
# To reuse a connection, at most this much is read. With more data it is closed.
_READ_BYTES = 64 * 1024
_MAX_RETRY_AFTER = 24 * 3600


class PostResponse(NamedTuple):
    """A response to a POST.

    `retry_after` and the duration `seconds` are in seconds. `body_start` is the first kilobyte of
    the body, or the part that arrived in time.
    """

    status: int
    retry_after: float | None
    body_start: bytes
    seconds: float


class GetResponse(NamedTuple):
    """A response to a GET. `location` is that of a redirect. `is_whole`: `body` is complete."""

    status: int
    location: str | None
    body: bytes
    is_whole: bool


def read_head(incoming: Incoming) -> HTTPResponse:
    """Returns the final response, with its body unread (RFC 9110, 15.2).

    Skips interim (1xx) responses: http.client itself skips only 100, and takes any other for the
    final one. Raises HTTPException or OSError if no final response arrives.
    """
    while True:
        stream: Any = incoming
        response = HTTPResponse(stream, method="POST")
        response.begin()
        if response.status >= HTTPStatus.OK:
            return response


def read_start(response: HTTPResponse, incoming: Incoming) -> tuple[bytes, bool]:
    """Returns the body's first kilobyte, and whether the connection is reusable.

    It is reusable only if the response was read to its end, and no data follows. A truncated or
    late body counts as it arrived: the status is known.
    """
    start, total = b"", 0
    try:
        while total < _READ_BYTES and (part := response.read1(_READ_BYTES - total)):
            start += part[: _START_BYTES - len(start)]
            total += len(part)
    except (HTTPException, OSError):
        return start, False
    # `length` counts the unread bytes. A chunked response ends by itself.
    is_whole = response.length == 0 or (response.length is None and response.isclosed())
    is_reusable = is_whole and not response.will_close and _is_framed_once(response)
    return start, is_reusable and not incoming.has_more()


def read_whole(response: HTTPResponse, max_bytes: int) -> GetResponse:
    """Returns the response with at most `max_bytes` of its body.

    Reads one more byte to see if there is more. Raises HTTPException or OSError if the body is
    truncated.
    """
    body = b""
    while len(body) <= max_bytes and (part := response.read1(max_bytes + 1 - len(body))):
        body += part
    is_whole = len(body) <= max_bytes
    if is_whole and response.length:
        raise HTTPException("The body is shorter than its Content-Length.")
    return GetResponse(response.status, response.getheader("Location"), body[:max_bytes], is_whole)


def _is_framed_once(response: HTTPResponse) -> bool:
    """Whether the end of the body is unambiguous (RFC 9112, 6.3)."""
    if response.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return True
    lengths = response.headers.get_all("Content-Length", ())
    encodings = response.headers.get_all("Transfer-Encoding", ())
    return len(lengths) + len(encodings) == 1 and response.chunked == bool(encodings)


def retry_after(text: str | None, now: Callable[[], datetime]) -> float | None:
    """Returns the delay in a Retry-After header in seconds (RFC 9110, 10.2.3), at most a day.

    Returns None if the header is missing or invalid.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), _MAX_RETRY_AFTER))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now()).total_seconds(), 0.0), float(_MAX_RETRY_AFTER))
