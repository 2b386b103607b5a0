"""Entity tags in the request headers If-None-Match and If-Match."""

from collections.abc import Iterable

from falcon import ETag, Request, Response

from ..services.etags import Tags, encode, tag_of

_NONE = Tags()


def if_none_match(req: Request) -> Tags:
    """Returns the tags in If-None-Match, for weak comparison (RFC 9110, 13.1.2)."""
    if "HTTP_IF_NONE_MATCH" not in req.env:
        return _NONE
    return _tags(req.if_none_match or ())


def expected(req: Request) -> Tags | None:
    """Returns the tags in If-Match, for strong comparison (RFC 9110, 13.1.1).

    A weak tag matches nothing. Returns None without the header.
    """
    if "HTTP_IF_MATCH" not in req.env:
        return None
    return _tags(tag for tag in req.if_match or () if not getattr(tag, "is_weak", False))


def answer(req: Request, resp: Response, view: object) -> None:
    """Responds with `view`, or with 304 if a GET or HEAD has its tag."""
    body = encode(view)
    tag = tag_of(body)
    is_known = req.method in ("GET", "HEAD") and if_none_match(req).admit(tag)
    send(resp, tag, None if is_known else body)


def send(resp: Response, tag: str, body: bytes | None) -> None:
    """Responds with `body` and its `tag`, or with 304 if `body` is None."""
    resp.set_header("ETag", f'"{tag}"')
    # Caches must revalidate before they reuse the response.
    resp.set_header("Cache-Control", "private, no-cache")
    if body is None:
        resp.status = 304
    else:
        resp.data = body


def _tags(tags: Iterable[str]) -> Tags:
    """Returns `tags` with "any" for a bare asterisk only.

    A quoted asterisk is an ordinary tag, which the service never creates.
    """
    return Tags(str(tag) for tag in tags if tag != "*" or not isinstance(tag, ETag))
