"""Who asks for something to be done: what the services are told of a request's origin."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from ..pki.names.hostnames import wildcard_of

Kind = Literal["open", "anybody", "user", "operator", "terminator", "command"]


class UserSnapshot(NamedTuple):
    """The row of the user whom a request is about, as the statement that let it in saw it."""

    id: int
    name: str
    email: str
    email_verified_at: datetime | None
    created_at: datetime
    certificates_revision: bytes
    statuses_change_at: datetime


class TerminatorScope(NamedTuple):
    """Which users, and which hostnames, a terminator is for; None: all."""

    user_ids: frozenset[int] | None = None
    hostnames: frozenset[str] | None = None

    def has_user(self, user_id: int) -> bool:
        """Whether the certificates of this user are within it."""
        return self.user_ids is None or user_id in self.user_ids

    def has_name(self, hostname: str) -> bool:
        """Whether `hostname` is one of its names, or covered by one."""
        return self.hostnames is None or not self.hostnames.isdisjoint(
            (hostname, wildcard_of(hostname))
        )

    def has_certificate(self, user_id: int, hostnames: Iterable[str]) -> bool:
        """Whether a user's certificate for `hostnames` may be served for one of its names."""
        return self.has_user(user_id) and (
            self.hostnames is None or any(True for _ in self.names_of(hostnames))
        )

    def names_of(self, hostnames: Iterable[str]) -> Iterator[str]:
        """For which names within it a certificate for `hostnames` may be served."""
        names = {*hostnames}
        if self.hostnames is None:
            yield from names
            return
        yield from filter(self.has_name, names)
        for mine in self.hostnames - names:
            if wildcard_of(mine) in names:
                yield mine


ALL = TerminatorScope()


@dataclass(frozen=True, slots=True)
class Principal:
    """`open` is anybody whom a service without credentials lets in, `anybody` whoever asks for what
    needs none, `command` the command line.

    `token_id` and `user_id` are None where it came without a token, or with one of no user's.
    `peer` is the address that the request came from. `scopes` are what a user's token is for.
    `about` is the user whom the request is about, where that came with the token. `reach` is what a
    terminator is for. `password_hash` is what a password was compared with.
    """

    kind: Kind
    request_id: str
    peer: str
    token_id: int | None = None
    user_id: int | None = None
    scopes: frozenset[str] = frozenset()
    about: UserSnapshot | None = None
    reach: TerminatorScope = ALL
    password_hash: str | None = field(default=None, repr=False)
