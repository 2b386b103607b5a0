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

    def left(self, key: object, now: float) -> float:
        """How many there are to take; nothing is taken."""
        level, since = self._buckets.get(key) or (self._size, now)
        return min(self._size, level + (now - since) * self._rate)

    def take(self, key: object, now: float) -> float:
        """Takes one: how many are left; or, where it is less than 0, what is missing for one."""
        left = self.left(key, now) - 1
        self._buckets[key] = (left if left >= 0 else left + 1, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MOST_KEYS:
            self._buckets.popitem(last=False)
        return left
