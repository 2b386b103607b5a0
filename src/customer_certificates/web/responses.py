"""What a write is answered: told first to its Once, which keeps it, then to the client."""

from collections.abc import Callable
from typing import Any

from falcon import Request, Response

from ..services.etags import encode, tag_of
from ..services.idempotency import IdempotentRequest, Replayed, Reply
from . import etags


def once(req: Request, reply: Callable[[Any], Reply]) -> IdempotentRequest:
    """What to give to the service, so that a repeated request is answered as it was; `reply`
    makes the answer of what the service gives.

    To be called when the body has been read. Raises Replayed, or Invalid where the key came with
    another request.
    """
    made: IdempotentRequest = req.context.once
    made.begin(req.method, req.context.get("body") or b"", reply)
    return made


def shown(view: object) -> Reply:
    """The thing as it is now, and its entity tag."""
    body = encode(view)
    return Reply(200, body, tag=tag_of(body))


def gone(_nothing: None) -> Reply:
    """It is no more."""
    return Reply(204)


def send(resp: Response, reply: Reply) -> None:
    """Answers with `reply`."""
    resp.status = reply.status
    if reply.location:
        resp.location = reply.location
    if reply.tag:
        etags.send(resp, reply.tag, reply.body)
    else:
        resp.data = reply.body


def replay(_req: Request, resp: Response, replayed: Replayed, _params: dict[str, Any]) -> None:
    """Answers a request that was carried out before."""
    send(resp, replayed.reply)
    resp.set_header("Idempotency-Replayed", "true")
