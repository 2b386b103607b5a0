"""Quotas of users: read with their usage, and set by operators."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import bindparam, func, select

from ...errors import user_not_found
from ...field_docs import doc
from ...gateways.database import Database, time_param
from ...gateways.database.prepared import Row
from ...gateways.database.sql_functions import ids_as_json, ids_of
from ...models import (
    HostnameChallenge,
    HostnameClaim,
    IdempotencyRecord,
    Terminator,
    Token,
    User,
    Webhook,
)
from ..audit.log import Audit
from ..etags import Tags, require_view, tag_of_view
from ..idempotency import KEPT_FOR, NO_KEY, IdempotentRequest
from ..principal import Principal
from ..quotas.limits import DEFAULTS, QUOTAS, Quota, overrides_of
from ..quotas.usage import COUNTER_QUOTAS, COUNTERS
from ..user_lock import lock_user

_Limit = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_Override = Annotated[
    _Limit | None, doc("The limit of this user. null or omitted: the default.", None)
]


class QuotaLimits(msgspec.Struct, forbid_unknown_fields=True):
    """A user's own limits instead of the defaults. Omitted ones have the default."""

    certificates: _Override = None
    stored_bytes: _Override = None
    versions: _Override = None
    hostnames: _Override = None
    unproven_hostnames: _Override = None
    pending_challenges: _Override = None
    tokens: _Override = None
    webhooks: _Override = None
    idempotency_records: _Override = None
    terminator_names: _Override = None


class QuotaView(msgspec.Struct):
    """One quota of a user."""

    limit: Annotated[_Limit, doc("The limit that applies to the user.", 10000)]
    used: Annotated[int, doc("The current usage of the user.", 12, ge=0)]
    default: Annotated[_Limit, doc("The default limit, unless an operator sets another.", 10000)]


class QuotasView(msgspec.Struct):
    """All quotas of a user."""

    certificates: Annotated[QuotaView, doc("Certificates.")]
    stored_bytes: Annotated[
        QuotaView, doc("Bytes of certificates, findings and encrypted keys, in all versions.")
    ]
    versions: Annotated[QuotaView, doc("Earlier and pending versions of all certificates.")]
    hostnames: Annotated[
        QuotaView, doc("Hostnames of certificates. A hostname counts once for each certificate.")
    ]
    unproven_hostnames: Annotated[QuotaView, doc("Claimed hostnames without a proof of control.")]
    pending_challenges: Annotated[QuotaView, doc("Pending challenges.")]
    tokens: Annotated[QuotaView, doc("Tokens that are neither expired nor revoked.")]
    webhooks: Annotated[QuotaView, doc("Webhooks.")]
    idempotency_records: Annotated[
        QuotaView, doc("Requests of the user with an Idempotency-Key in the last 24 hours.")
    ]
    terminator_names: Annotated[
        QuotaView, doc("Terminators that report with tokens limited to this user alone.")
    ]


def tag_of_limits(quotas: QuotasView) -> str:
    """Returns the entity tag of the limits alone: that of the quotas changes with each upload."""
    return tag_of_view([getattr(quotas, name).limit for name in QUOTAS])


class Quotas:
    """The use cases of quotas."""

    def __init__(self, database: Database, audit: Audit, now: Callable[[], datetime]) -> None:
        self._audit = audit
        self._now = now
        self._state = database.prepare(_state())
        usage = select(User.id, User.quotas, *COUNTERS).where(User.id.in_(ids_of("ids")))
        self._usage = database.prepare(usage, tenant=None)

    def of(self, user_id: int) -> QuotasView:
        """Returns the user's quotas and their usage. Raises NotFound."""
        rows = self._state(user_id=user_id, **self._times())
        if not rows:
            raise user_not_found(user_id)
        return _view(rows[0])

    def usage_of(self, user_ids: Iterable[int]) -> dict[int, dict[Quota, QuotaView]]:
        """Returns how much each of the users stores, by quota. Deleted users are missing."""
        rows = self._usage(ids=ids_as_json(user_ids))
        return {
            user_id: _quota_views(quotas, zip(COUNTER_QUOTAS, used, strict=True))
            for user_id, quotas, *used in rows
        }

    def set(
        self,
        principal: Principal,
        user_id: int,
        limits: QuotaLimits,
        expected: Tags | None,
        idempotent: IdempotentRequest = NO_KEY,
    ) -> QuotasView:
        """Replaces the user's limits, and returns the quotas.

        Deletes nothing if the usage exceeds a limit. `expected` has the tag of the quotas or that
        of their limits. Raises NotFound, PreconditionFailed.
        """
        path = f"/users/{user_id}/quotas"
        overrides = {
            name: limit
            for name, limit in msgspec.structs.asdict(limits).items()
            if limit is not None
        }
        write = self._audit.begin(principal, "user.set_quotas", user_id, path, idempotent)
        with write as (session, entry):
            user = lock_user(session, user_id)
            (row,) = session.run(self._state, user_id=user_id, **self._times())
            view = _view(row)
            if expected is None or not expected.admit(tag_of_limits(view)):
                require_view(expected, view)
            changed = overrides != overrides_of(user.quotas)
            user.quotas = msgspec.json.encode(overrides).decode() if overrides else None
            session.flush()
            entry.add({"limits": overrides}, changed=changed)
            return idempotent.save_response(session, _view((user.quotas, *row[1:])))

    def _times(self) -> dict[str, datetime]:
        now = self._now()
        return {"now": now, "expired": now - KEPT_FOR}


def _state() -> Any:
    """Selects the user's limits, and the usage of each of QUOTAS in order."""
    user_id: Any = bindparam("user_id")

    def count(table: Any, *conditions: Any) -> Any:
        return select(func.count()).where(table.user_id == user_id, *conditions).scalar_subquery()

    now = time_param("now")
    expired = time_param("expired")
    used: dict[Quota, Any] = {
        **dict(zip(COUNTER_QUOTAS, COUNTERS, strict=True)),
        "unproven_hostnames": count(HostnameClaim, HostnameClaim.proof == "none"),
        "pending_challenges": count(HostnameChallenge, HostnameChallenge.is_pending(now)),
        "tokens": count(Token, Token.is_valid(now)),
        "webhooks": count(Webhook),
        "idempotency_records": count(IdempotencyRecord, IdempotencyRecord.kept_at > expired),
        "terminator_names": count(Terminator),
    }
    return select(User.quotas, *(used[quota].label(quota) for quota in QUOTAS)).where(
        User.id == user_id
    )


def _view(row: Row) -> QuotasView:
    quotas, *used = row
    return QuotasView(**_quota_views(quotas, zip(QUOTAS, used, strict=True)))


def _quota_views(quotas: str | None, used: Iterable[tuple[Quota, int]]) -> dict[Quota, QuotaView]:
    overrides = overrides_of(quotas)
    return {
        quota: QuotaView(overrides.get(quota, DEFAULTS[quota]), max(number, 0), DEFAULTS[quota])
        for quota, number in used
    }
