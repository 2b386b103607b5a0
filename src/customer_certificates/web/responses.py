"""Responses to writes. The idempotency store saves them before they are sent."""

from collections.abc import Callable
from typing import Any

from falcon import Request, Response

from ..services.etags import encode, tag_of
from ..services.idempotency import IdempotentRequest, Replayed, Reply
from . import etags


def idempotent(req: Request, reply: Callable[[Any], Reply]) -> IdempotentRequest:
    """Returns the idempotent request to pass to the service.

    `reply` makes the response from the service's result. Call this function after reading the
    body. Raises Replayed for a repeated request, or Invalid if another request had the same key.
    """
    request: IdempotentRequest = req.context.idempotent
    request.begin(req.method, req.context.get("body") or b"", reply)
    return request


def shown(view: object) -> Reply:
    """Returns the response with `view` and its entity tag."""
    body = encode(view)
    return Reply(200, body, tag=tag_of(body))


def deleted(_nothing: None) -> Reply:
    """Returns the response to a deletion."""
    return Reply(204)


def send(resp: Response, reply: Reply) -> None:
    """Responds with `reply`."""
    resp.status = reply.status
    if reply.location:
        resp.location = reply.location
    if reply.tag:
        etags.send(resp, reply.tag, reply.body)
    else:
        resp.data = reply.body


def send_uncached(resp: Response, view: object) -> None:
    """Responds with `view`, which caches must not store."""
    resp.set_header("Cache-Control", "no-store")
    resp.data = encode(view)


def replay(_req: Request, resp: Response, replayed: Replayed, _params: dict[str, Any]) -> None:
    """Responds to a repeated request with the stored response."""
    send(resp, replayed.reply)
    resp.set_header("Idempotency-Replayed", "true")
