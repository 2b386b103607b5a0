"""Counts the terminators that serve certificates."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import and_, case, func, literal, or_, select, union_all

from ...gateways.database import Database, int_param, time_param
from ...gateways.database.sql_functions import ids_as_json, ids_of
from ...models import Certificate, Serving, Terminator, Token

# A terminator that has not reported for longer is not live.
_LIVE = timedelta(hours=24)
# Stands for no certificate: the row that counts the terminators.
_NONE = 0


class ServingCount(NamedTuple):
    """`serving` of `terminators` serve the current version of a certificate."""

    serving: int
    terminators: int


class ServingCounts:
    """Counts live terminators, all of those that may serve a user's certificates."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        user_id = int_param("user_id")
        is_live = Terminator.seen_at >= time_param("live_since")
        # Terminators that are limited to some hostnames or users count only for what they serve.
        serves_all = or_(
            Terminator.user_id == user_id,
            and_(Terminator.user_id.is_(None), Token.user_ids.is_(None), Token.hostnames.is_(None)),
        )
        of_token = Token.id == Terminator.token_id
        terminators = (
            select(literal(_NONE).label("id"), literal(0), func.count())
            .select_from(Terminator)
            .outerjoin(Token, of_token)
            .where(is_live, serves_all)
        )
        serving = (
            select(Serving.certificate_id, func.count(), func.sum(case((serves_all, 0), else_=1)))
            .join(Terminator, Terminator.id == Serving.terminator_id)
            .join(Certificate, Certificate.id == Serving.certificate_id)
            .outerjoin(Token, of_token)
            .where(
                Serving.certificate_id.in_(ids_of("ids")),
                Serving.user_id == user_id,
                Serving.serves,
                Serving.version == Certificate.version,
                is_live,
            )
            .group_by(Serving.certificate_id)
        )
        # The rows of tokens that belong to no user are hidden from a tenant.
        self._counts = database.prepare(
            select(union_all(terminators, serving).subquery()), tenant=None
        )

    def of(self, user_id: int, certificate_ids: Sequence[int]) -> dict[int, ServingCount]:
        """Returns the count of each of the user's certificates, in one statement."""
        rows = self._counts(
            user_id=user_id, ids=ids_as_json(certificate_ids), live_since=self._now() - _LIVE
        )
        counts = {certificate_id: (serving, more) for certificate_id, serving, more in rows}
        _, terminators = counts.pop(_NONE)
        none = (0, 0)
        return {
            certificate_id: ServingCount(serving, terminators + more)
            for certificate_id in certificate_ids
            for serving, more in [counts.get(certificate_id, none)]
        }
