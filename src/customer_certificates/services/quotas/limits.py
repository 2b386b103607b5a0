"""The quotas of a user: names, defaults, overrides, and the error beyond a limit."""

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec
from sqlalchemy.orm import Session

from ...errors import Conflict, Finding
from ...models import User

Quota = Literal[
    "certificates",
    "stored_bytes",
    "versions",
    "hostnames",
    "unproven_hostnames",
    "pending_challenges",
    "tokens",
    "webhooks",
    "idempotency_records",
    "terminator_names",
]
QUOTAS: tuple[Quota, ...] = get_args(Quota)
DEFAULTS: Mapping[Quota, int] = {
    "certificates": 10_000,
    "stored_bytes": 256 * 1024 * 1024,
    # The four earlier versions and a pending one of each certificate. A renewal always fits, unless
    # an operator has lowered the quota.
    "versions": 50_000,
    "hostnames": 20_000,
    "unproven_hostnames": 100,
    "pending_challenges": 100,
    "tokens": 100,
    "webhooks": 20,
    "idempotency_records": 20_000,
    "terminator_names": 1_000,
}
# The items that each quota counts, in the plural.
_COUNTED: Mapping[Quota, str] = {
    "certificates": "certificates",
    "stored_bytes": "bytes of certificates and keys",
    "versions": "earlier and pending versions of certificates",
    "hostnames": "hostnames, counted for each certificate",
    "unproven_hostnames": "hostnames without a proof of control",
    "pending_challenges": "pending challenges",
    "tokens": "valid tokens",
    "webhooks": "webhooks",
    "idempotency_records": "requests with an Idempotency-Key in 24 hours",
    "terminator_names": "terminator names",
}
# How a user gets below a limit, other than by deleting resources.
_REMEDIES: Mapping[Quota, str] = {
    "unproven_hostnames": "Prove control of some hostnames, or deactivate certificates.",
    "pending_challenges": "Complete or delete some challenges.",
    "tokens": "Revoke tokens that you no longer need.",
    "idempotency_records": "Send the request without an Idempotency-Key, or retry later.",
    "terminator_names": "Report under an existing terminator name.",
}

_overrides = msgspec.json.Decoder(dict[str, int])


def overrides_of(quotas: str | None) -> dict[str, int]:
    """Returns the limits that an operator has set, from the column `users.quotas`."""
    return _overrides.decode(quotas) if quotas else {}


def limit_of(quotas: str | None, quota: Quota) -> int:
    """Returns the limit of a user with this column `quotas`."""
    return overrides_of(quotas).get(quota, DEFAULTS[quota])


def require(quotas: str | None, quota: Quota, used: int) -> None:
    """Raises Conflict if `used` exceeds the limit of a user with this column `quotas`."""
    limit = limit_of(quotas, quota)
    if used > limit:
        raise exceeded(quota, limit)


def require_of(session: Session, user_id: int, quota: Quota, used: int) -> None:
    """Raises Conflict if `used`, with what the transaction adds, exceeds the user's quota.

    `used` must be counted after the transaction has locked the user's row: then it is exact.
    """
    user = session.get(User, user_id)
    require(user.quotas if user else None, quota, used)


def exceeded(quota: Quota, limit: int, whose: str = "The user") -> Conflict:
    """Returns the error for an exceeded quota. `whose` begins a sentence."""
    counted = _COUNTED[quota]
    remedy = _REMEDIES.get(quota, "Delete resources that you no longer need.")
    finding = Finding(
        "quota_exceeded",
        quota,
        f"{whose} may have {limit} {counted}. This would be more.",
        f"{remedy} Or ask an operator of this service to raise the quota.",
    )
    return Conflict(
        f"Quota exceeded: {quota} (limit {limit}). Nothing was changed. Ask an operator of this "
        "service to raise it.",
        errors=[finding],
    )
