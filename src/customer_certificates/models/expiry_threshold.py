"""Rules for when to notify users that a certificate expires; no I/O."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

# The threshold after the expiry, which users cannot set.
EXPIRED = "expired"

_USUAL = ("30d", "14d", "7d", "1d")
_OF_SHORT_LIVES = ("33%", "10%")
_SHORT_LIFE = timedelta(days=60)
# A certificate's times are whole seconds, and it is valid during its last one (RFC 5280, 4.1.2.5).
_LAST_SECOND = timedelta(seconds=1)
FORM = r"^([1-9][0-9]{0,2}d|[1-9][0-9]?%)$(?!\n)"


class ExpiryCheck(NamedTuple):
    """The result of an expiry check.

    It has the last passed threshold, of which the owner should have been notified; None before the
    first one. It also has the time of the next check; None: never.
    """

    passed: str | None
    next: datetime | None


def check_expiry(
    not_before: datetime, not_after: datetime, thresholds: Sequence[str] | None, now: datetime
) -> ExpiryCheck:
    """Returns the last passed threshold, and the time of the next check.

    `thresholds` are like `30d` before the expiry, or `10%` of the lifetime before it; None: the
    defaults. A threshold that exceeds the whole lifetime is ignored.
    """
    life = not_after - not_before
    if thresholds is None:
        thresholds = _OF_SHORT_LIVES if life < _SHORT_LIFE else _USUAL
    # The greatest datetime stands for a certificate without expiry.
    end = not_after + _LAST_SECOND if not_after.year < 9999 else not_after
    moments = [
        (not_after - before, threshold)
        for threshold in thresholds
        if (before := _before(threshold, life)) < life
    ]
    moments.append((end, EXPIRED))
    passed = [moment for moment in moments if moment[0] <= now]
    ahead = [moment for moment, _ in moments if moment > now]
    return ExpiryCheck(max(passed)[1] if passed else None, min(ahead, default=None))


def _before(threshold: str, life: timedelta) -> timedelta:
    number = int(re.sub("[d%]", "", threshold))
    return timedelta(days=number) if threshold.endswith("d") else life * number / 100
