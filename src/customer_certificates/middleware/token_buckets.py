"""How much each of many may take at a time. Pure: the caller tells the time."""

from collections import OrderedDict

_MOST_KEYS = 10_000


class TokenBuckets:
    """A bucket for each key, filled at `rate` a second up to `size`; the ones asked for last.

    Whose bucket is forgotten starts with a full one, as it would have by then, or nearly.
    """

    def __init__(self, rate: float, size: float) -> None:
        self._rate = rate
        self._size = size
        self._buckets: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def take(self, key: object, now: float) -> float:
        """Takes one: how many are left; or, where it is less than 0, what is missing for one."""
        buckets = self._buckets
        level, since = buckets.pop(key, (self._size, now))
        level = min(self._size, level + (now - since) * self._rate) - 1
        buckets[key] = (level if level >= 0 else level + 1, now)
        if len(buckets) > _MOST_KEYS:
            buckets.popitem(last=False)
        return level
