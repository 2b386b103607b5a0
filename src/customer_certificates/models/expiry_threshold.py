"""When somebody is told that a certificate ends: the rules, without I/O."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

# Told of after the end, and never by a user.
EXPIRED = "expired"

_USUAL = ("30d", "14d", "7d", "1d")
_OF_SHORT_LIVES = ("33%", "10%")
_SHORT_LIFE = timedelta(days=60)
# A certificate's times are whole seconds, and it is valid during its last one (RFC 5280, 4.1.2.5).
_LAST_SECOND = timedelta(seconds=1)
FORM = r"^([1-9][0-9]{0,2}d|[1-9][0-9]?%)$(?!\n)"


class Look(NamedTuple):
    """What a look at a certificate says: the threshold that was passed last, which its owner should
    have been told of; None before the first. And when to look again; None: never."""

    passed: str | None
    next: datetime | None


def look(
    not_before: datetime, not_after: datetime, thresholds: Sequence[str] | None, now: datetime
) -> Look:
    """Where a certificate stands `now`. `thresholds` are like `30d` before its end, or `10%` of its
    life before it; None: the usual ones.

    One that is longer than the whole life says nothing of it, and is left out.
    """
    life = not_after - not_before
    if thresholds is None:
        thresholds = _OF_SHORT_LIVES if life < _SHORT_LIFE else _USUAL
    # The last instant that a datetime can tell is no end at all.
    end = not_after + _LAST_SECOND if not_after.year < 9999 else not_after
    moments = [
        (not_after - before, threshold)
        for threshold in thresholds
        if (before := _before(threshold, life)) < life
    ]
    moments.append((end, EXPIRED))
    passed = [one for one in moments if one[0] <= now]
    ahead = [moment for moment, _ in moments if moment > now]
    return Look(max(passed)[1] if passed else None, min(ahead, default=None))


def _before(threshold: str, life: timedelta) -> timedelta:
    number = int(re.sub("[d%]", "", threshold))
    return timedelta(days=number) if threshold.endswith("d") else life * number / 100
