"""Counts the terminators that serve certificates."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, not_, or_, select

from ...gateways.database import Database, int_param, time_param
from ...gateways.database.sql_functions import ids_as_json, ids_of
from ...models import PROBE, Certificate, Serving, Terminator, Token

# A terminator that has not reported for longer is not live.
_LIVE = timedelta(hours=24)
_USER_ID = int_param("user_id")


class ServingCount(NamedTuple):
    """`serving` of `terminators` serve the current version of a certificate."""

    serving: int
    terminators: int


class ServingCounts:
    """Counts live terminators, out of those that may serve a user's certificates."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        # A tenant does not see the tokens of terminators.
        self._counts = database.prepare(_counts(), tenant=None)

    def of(self, user_id: int, certificate_ids: Sequence[int]) -> dict[int, ServingCount]:
        """Returns the count of each of the user's certificates, in one statement."""
        now = self._now()
        rows = self._counts(
            user_id=user_id, ids=ids_as_json(certificate_ids), now=now, live_since=now - _LIVE
        )
        return {
            certificate_id: ServingCount(unlimited + limited, terminators + limited)
            for certificate_id, terminators, unlimited, limited in rows
        }


def _counts() -> Select[*tuple[Any, ...]]:
    # A terminator that is limited to some hostnames or users counts only for what it serves. The
    # condition is never NULL.
    is_unlimited = and_(
        Token.hostnames.is_(None),
        or_(
            and_(Terminator.user_id.is_not(None), Terminator.user_id == _USER_ID),
            and_(Terminator.user_id.is_(None), Token.user_ids.is_(None)),
        ),
    )
    ids = ids_of("ids").subquery()
    certificate_id = ids.c[0]
    return select(
        certificate_id,
        _live(is_unlimited).scalar_subquery(),
        _serving(certificate_id, is_unlimited),
        _serving(certificate_id, not_(is_unlimited)),
    )


def _serving(certificate_id: ColumnElement[int], condition: ColumnElement[bool]) -> Any:
    """Counts the terminators that serve the certificate.

    As a subquery of each certificate, it reads the index of the certificates. The planner would
    start a join with the few terminators, and read all that they serve.
    """
    return (
        _live(condition)
        .join(Serving, Serving.terminator_id == Terminator.id)
        .join(Certificate, Certificate.id == Serving.certificate_id)
        .where(
            Serving.certificate_id == certificate_id,
            Serving.user_id == _USER_ID,
            Serving.serves,
            Serving.version == Certificate.version,
        )
        .correlate(certificate_id.table)
        .scalar_subquery()
    )


def _live(condition: ColumnElement[bool]) -> Select[int]:
    """Counts live terminators that meet the condition. Addresses that a probe has checked are none.

    A terminator whose token has ended is not live, unless it has reported since, with another one.
    """
    may_report = or_(
        Token.id.is_(None),
        Token.is_valid(time_param("now")),
        Terminator.seen_at > Token.revoked_at,
        Terminator.seen_at > Token.expires_at,
    )
    return (
        select(func.count())
        .select_from(Terminator)
        .outerjoin(Token, Token.id == Terminator.token_id)
        .where(
            Terminator.seen_at >= time_param("live_since"),
            Terminator.format != PROBE,
            may_report,
            condition,
        )
    )
