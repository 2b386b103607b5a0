"""Reads a user's hostnames with their proofs, their challenges, and the served certificates."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import and_, select, union
from sqlalchemy.orm import aliased

from ...errors import user_not_found
from ...gateways.database import Database, int_param, text_param
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import as_json, is_among
from ...models import (
    Certificate,
    CertificateHostname,
    HostnameChallenge,
    HostnameClaim,
    PrivateKey,
    User,
)
from ...pki.names.hostnames import wildcard_of
from ...pki.names.ownership import Proof
from ...pki.selection import Candidate, decide
from ..certificates.candidates import DECIDING, OF_KEY, candidate_of
from ..hostnames.claims import OF_CLAIM

# `lapsed`: the proof has expired. `taken`: another user owns it. `unclaimed`: nobody does.
OwnershipState = Literal["proven", "lapsed", "unproven", "contested", "taken", "unclaimed"]


class Served(NamedTuple):
    """A certificate that terminators serve for a hostname to clients with this key type."""

    certificate_id: int
    key_type: str
    not_after: datetime | None


class HostnameState(NamedTuple):
    """A hostname of a user's claims, challenges or certificates.

    `proof` is that of the user's claim, None without one. `has_challenge` is also true for a
    challenge that has expired.
    """

    hostname: str
    state: OwnershipState
    proof: Proof | None
    claimed_at: datetime | None
    proof_until: datetime | None
    in_use: bool
    has_challenge: bool
    challenge_is_pending: bool
    served: list[Served]


class HostnameStates:
    """Reads the states of hostnames: two statements for a page."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        after, named = text_param("after"), text_param("hostname")
        self._page = database.prepare(_states(lambda column: column > after), tenant=None)
        self._one = database.prepare(_states(lambda column: column == named), tenant=None)
        user_id = int_param("user_id")
        self._candidates = database.prepare(
            select(CertificateHostname.hostname, HostnameClaim.hostname, *DECIDING)
            .join(Certificate, Certificate.id == CertificateHostname.certificate_id)
            .outerjoin(PrivateKey, OF_KEY)
            .outerjoin(HostnameClaim, OF_CLAIM)
            .where(
                CertificateHostname.user_id == user_id,
                is_among(CertificateHostname.hostname, text_param("hostnames")),
                CertificateHostname.active,
                Certificate.active,
            )
        )
        self._user = database.prepare(select(User.id).where(User.id == user_id))

    def page(self, user_id: int, after: str, limit: int) -> tuple[list[HostnameState], str | None]:
        """Returns at most `limit` hostnames after `after`, and the `after` of the next page.

        It is None on the last page. Raises NotFound.
        """
        rows = self._page(user_id=user_id, after=after, limit=limit + 1)
        if not rows and not self._user(user_id=user_id):
            raise user_not_found(user_id)
        states = self._shown(user_id, rows[:limit])
        return states, states[-1].hostname if len(rows) > limit else None

    def of(self, user_id: int, hostname: str) -> HostnameState:
        """Returns the state of `hostname`, even if the user has nothing with it. Raises NotFound
        if there is no such user.
        """
        rows = self._one(user_id=user_id, hostname=hostname, limit=1)
        if not rows and not self._user(user_id=user_id):
            raise user_not_found(user_id)
        rows = rows or [(hostname, *[None] * 6, False)]
        return self._shown(user_id, rows)[0]

    def _shown(self, user_id: int, rows: Sequence[Row]) -> list[HostnameState]:
        names = {name for row in rows for name in (row[0], wildcard_of(row[0]))}
        found: dict[str, list[Row]] = {}
        if names:
            for row in self._candidates(user_id=user_id, hostnames=as_json(sorted(names))):
                found.setdefault(row[0], []).append(row)
        now = self._now()
        return [_state(row, user_id, now, found) for row in rows]


def _names(condition: Callable[[Any], Any]) -> Any:
    """Selects the hostnames of the user's claims, challenges and certificates.

    `condition` makes a condition from their column.
    """
    user_id = int_param("user_id")
    selects = []
    for table in (HostnameClaim, HostnameChallenge, CertificateHostname):
        names = (
            select(table.hostname)
            .where(table.user_id == user_id, condition(table.hostname))
            .distinct()
            .order_by(table.hostname)
            .limit(int_param("limit"))
        )
        # SQLite accepts no limit in a part of a UNION.
        selects.append(select(*names.subquery().c))
    return union(*selects).subquery()


def _states(condition: Callable[[Any], Any]) -> Any:
    """Selects a row for each hostname of the user, with its claim and the user's challenge."""
    user_id, names = int_param("user_id"), _names(condition)
    rival = aliased(HostnameChallenge)
    is_contested = (
        select(rival.id)
        .where(
            rival.hostname == names.c.hostname,
            rival.user_id != user_id,
            rival.state == "contesting",
        )
        .exists()
    )
    is_mine = and_(
        HostnameChallenge.hostname == names.c.hostname, HostnameChallenge.user_id == user_id
    )
    return (
        select(
            names.c.hostname,
            HostnameClaim.user_id,
            HostnameClaim.proof,
            HostnameClaim.claimed_at,
            HostnameClaim.proof_until,
            HostnameChallenge.state,
            HostnameChallenge.expires_at,
            is_contested,
        )
        .select_from(names)
        .outerjoin(HostnameClaim, HostnameClaim.hostname == names.c.hostname)
        .outerjoin(HostnameChallenge, is_mine)
        .order_by(names.c.hostname)
        .limit(int_param("limit"))
    )


def _state(
    row: Row, user_id: int, now: datetime, certificates: dict[str, list[Row]]
) -> HostnameState:
    """Returns the state of a row. `certificates` are the active ones, by hostname."""
    hostname, owner, proof, claimed_at, proof_until, challenge, expires_at, contested = row
    is_mine = owner == user_id
    state: OwnershipState
    if challenge == "contesting" or (contested and is_mine):
        state = "contested"
    elif owner is None:
        state = "unclaimed"
    elif not is_mine:
        state = "taken"
    elif proof == "none":
        state = "unproven"
    else:
        state = "lapsed" if proof_until is not None and proof_until < now else "proven"
    return HostnameState(
        hostname,
        state,
        proof if is_mine else None,
        claimed_at if is_mine else None,
        proof_until if is_mine else None,
        is_mine and hostname in certificates,
        challenge is not None,
        challenge == "pending" and expires_at > now,
        _served(hostname, certificates, now) if is_mine or owner is None else [],
    )


def _served(hostname: str, found: dict[str, list[Row]], now: datetime) -> list[Served]:
    """Returns the certificates that are served for `hostname`, from rows by their names."""
    by_id: dict[int, list[Row]] = {}
    for name in {hostname, wildcard_of(hostname)}:
        for row in found.get(name, ()):
            by_id.setdefault(row[2], []).append(row)
    selected = decide(hostname, map(_candidate, by_id.values()), now).selected
    return [
        Served(candidate.certificate_id, key_type, candidate.not_after)
        for key_type, candidate in sorted(selected.items())
    ]


def _candidate(rows: list[Row]) -> Candidate:
    owned = [row[1] for row in rows if row[1] is not None]
    return candidate_of(rows[0][2:], [row[0] for row in rows], owned)
