"""Who asks for something to be done: what the services are told of a request's origin."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

Kind = Literal["open", "anybody", "user", "operator", "terminator", "command"]


class KnownUser(NamedTuple):
    """The row of the user whom a request is about, as the statement that let it in saw it."""

    id: int
    name: str
    email: str
    created_at: datetime
    certificates_revision: bytes
    statuses_change_at: datetime


@dataclass(frozen=True, slots=True)
class Caller:
    """`open` is anybody whom a service without credentials lets in, `anybody` whoever asks for what
    needs none, `command` the command line.

    `token_id` and `user_id` are None where it came without a token, or with one of no user's.
    `peer` is the address that the request came from. `scopes` are what a user's token is for.
    `about` is the user whom the request is about, where that came with the token.
    """

    kind: Kind
    request_id: str
    peer: str
    token_id: int | None = None
    user_id: int | None = None
    scopes: frozenset[str] = frozenset()
    about: KnownUser | None = None
