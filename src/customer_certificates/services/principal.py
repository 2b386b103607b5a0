"""The principal of a request: who it comes from, and what they may access."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from ..pki.names.hostnames import wildcard_of

Kind = Literal["open", "anybody", "user", "operator", "terminator", "command"]


class UserSnapshot(NamedTuple):
    """The row of the user that a request concerns, as read during authentication."""

    id: int
    name: str
    email: str
    email_verified_at: datetime | None
    created_at: datetime
    certificates_revision: bytes
    statuses_change_at: datetime
    external_id: str | None
    labels: str


class TerminatorScope(NamedTuple):
    """The users and the hostnames that a terminator serves; None: all."""

    user_ids: frozenset[int] | None = None
    hostnames: frozenset[str] | None = None

    def has_user(self, user_id: int) -> bool:
        """Returns whether this user's certificates are in the scope."""
        return self.user_ids is None or user_id in self.user_ids

    def has_name(self, hostname: str) -> bool:
        """Returns whether `hostname` is one of the hostnames, or covered by one."""
        return self.hostnames is None or not self.hostnames.isdisjoint(
            (hostname, wildcard_of(hostname))
        )

    def has_certificate(self, user_id: int, hostnames: Iterable[str]) -> bool:
        """Returns whether a user's certificate may be served for one of the hostnames."""
        return self.has_user(user_id) and (
            self.hostnames is None or any(True for _ in self.names_of(hostnames))
        )

    def names_of(self, hostnames: Iterable[str]) -> Iterator[str]:
        """Yields the hostnames in the scope that a certificate for `hostnames` may be
        served for.
        """
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
    """The origin of a request.

    `open` is any client of a service without credentials, `anybody` a client of an operation that
    needs none, `command` the command line.

    `token_id` and `user_id` are None without a token, or with a token of no user. `peer` is the
    client's address. `scopes` are those of a user token. `target_user` is the user that the request
    concerns, if it was read with the token. `password_hash` is the hash that a password was checked
    against.
    """

    kind: Kind
    request_id: str
    peer: str
    token_id: int | None = None
    user_id: int | None = None
    scopes: frozenset[str] = frozenset()
    target_user: UserSnapshot | None = None
    terminator_scope: TerminatorScope = ALL
    password_hash: str | None = field(default=None, repr=False)


# The background worker.
WORKER = Principal("command", "worker", "")
