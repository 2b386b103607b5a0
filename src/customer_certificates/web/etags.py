"""Entity tags in headers: what a client holds already, and what it expects to change."""

from collections.abc import Iterable

from falcon import ETag, Request, Response

from ..services.etags import Tags, encode, tag_of

_NONE = Tags()


def known(req: Request) -> Tags:
    """The tags in If-None-Match, compared weakly (RFC 9110, 13.1.2)."""
    if "HTTP_IF_NONE_MATCH" not in req.env:
        return _NONE
    return _tags(req.if_none_match or ())


def expected(req: Request) -> Tags | None:
    """The tags in If-Match, compared strongly (13.1.1): a weak one matches nothing."""
    if "HTTP_IF_MATCH" not in req.env:
        return None
    return _tags(tag for tag in req.if_match or () if not getattr(tag, "is_weak", False))


def answer(req: Request, resp: Response, view: object) -> None:
    """Answers with `view`, or with 304 to a GET whose client has it already."""
    body = encode(view)
    tag = tag_of(body)
    send(resp, tag, None if req.method in ("GET", "HEAD") and known(req).admit(tag) else body)


def send(resp: Response, tag: str, body: bytes | None) -> None:
    """Answers with the representation that `tag` names; None: the client has it already."""
    resp.set_header("ETag", f'"{tag}"')
    # Whoever keeps a copy asks whether it still holds.
    resp.set_header("Cache-Control", "private, no-cache")
    if body is None:
        resp.status = 304
    else:
        resp.data = body


def _tags(tags: Iterable[str]) -> Tags:
    """`tags`, of which only the bare asterisk stands for any: one in quotes is a tag like others,
    and none of ours."""
    return Tags(str(tag) for tag in tags if tag != "*" or not isinstance(tag, ETag))
