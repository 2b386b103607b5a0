"""Token buckets, one for each key. Pure: the caller passes the time, in seconds."""

from collections import OrderedDict

_MAX_KEYS = 10_000


class TokenBuckets:
    """A token bucket for each key, filled at `rate` a second up to `size`.

    Keeps the 10,000 buckets that changed last. A key without a bucket has a full one.
    """

    def __init__(self, rate: float, size: float) -> None:
        self._rate = rate
        self._size = size
        self._buckets: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def left(self, key: object, now: float) -> float:
        """Returns the level of the bucket without taking tokens."""
        level, since = self._buckets.get(key) or (self._size, now)
        return min(self._size, level + (now - since) * self._rate)

    def take(self, key: object, now: float) -> float:
        """Takes one token if there is one. Returns the level then; below 0, the missing amount."""
        level = self.left(key, now) - 1
        self._set(key, level if level >= 0 else level + 1, now)
        return level

    def spend(self, key: object, amount: float, now: float) -> None:
        """Takes `amount` even if the level becomes negative."""
        self._set(key, self.left(key, now) - amount, now)

    def _set(self, key: object, level: float, now: float) -> None:
        self._buckets[key] = level, now
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MAX_KEYS:
            self._buckets.popitem(last=False)
