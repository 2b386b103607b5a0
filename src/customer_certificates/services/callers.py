"""Who asks for something to be done: what the services are told of a request's origin."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["open", "user", "operator", "terminator", "command"]


@dataclass(frozen=True, slots=True)
class Caller:
    """`open` is anybody whom a service without credentials lets in, `command` the command line.

    `token_id` and `user_id` are None where it came without a token, or with one of no user's.
    `peer` is the address that the request came from.
    """

    kind: Kind
    request_id: str
    peer: str
    token_id: int | None = None
    user_id: int | None = None
