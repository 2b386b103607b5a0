"""Lists hostnames that two users claim with a proof."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import literal_column, select

from ...gateways.database import Database, int_param
from ...models import HostnameChallenge, HostnameClaim


class ContestedHostname(NamedTuple):
    """A hostname of `owner_id` that `challenger_id` has proven, too.

    `owner_id` is None if nobody owns it any longer. The contest is decided at `decided_at`.
    """

    hostname: str
    challenger_id: int
    owner_id: int | None
    decided_at: datetime


class ContestedHostnames:
    """Reads the contests of all users."""

    def __init__(self, database: Database) -> None:
        challenge = HostnameChallenge
        self._first = database.prepare(
            select(
                challenge.hostname, challenge.user_id, HostnameClaim.user_id, challenge.expires_at
            )
            .outerjoin(HostnameClaim, HostnameClaim.hostname == challenge.hostname)
            .where(challenge.state == literal_column("'contesting'"))
            .order_by(challenge.expires_at, challenge.id)
            .limit(int_param("limit")),
            tenant=None,
        )

    def first(self, limit: int) -> list[ContestedHostname]:
        """Returns the contests that are decided first."""
        return [ContestedHostname(*row) for row in self._first(limit=limit)]
