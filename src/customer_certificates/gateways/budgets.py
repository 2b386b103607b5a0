"""What each tenant may use up in a time."""

import math
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import monotonic

from ..errors import TooManyRequests
from .admission import TENANT

_MOST_TENANTS = 10_000


class CpuBudget:
    """CPU time: each tenant has `seconds` of it, and gets as much again in a minute.

    The time is known only after the work, so a tenant may owe some; it waits then. Work for no
    tenant is not counted. A tenant that is forgotten has the whole budget again; those that used
    some of it last are remembered.
    """

    def __init__(
        self,
        seconds: float,
        on_refusal: Callable[[], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`on_refusal` is called for each request that is refused."""
        self._seconds = seconds
        self._rate = seconds / 60
        self._on_refusal = on_refusal
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def require(self) -> None:
        """Raises TooManyRequests if the tenant has used up its budget."""
        tenant = TENANT.get()
        if tenant is None:
            return
        with self._lock:
            left = self._left_of(tenant)
        if left <= 0:
            self._on_refusal()
            raise TooManyRequests(
                f"Your certificates and keys took more than {self._seconds:g} seconds of CPU time "
                "a minute. Retry after the delay in Retry-After.",
                retry_after=math.floor(-left / self._rate) + 1,
            )

    def spend(self, seconds: float) -> None:
        """Counts CPU time that the tenant has used."""
        tenant = TENANT.get()
        if tenant is None:
            return
        with self._lock:
            self._left[tenant] = self._left_of(tenant) - seconds, self._clock()
            self._left.move_to_end(tenant)
            if len(self._left) > _MOST_TENANTS:
                self._left.popitem(last=False)

    def _left_of(self, tenant: str) -> float:
        left, since = self._left.get(tenant) or (self._seconds, 0.0)
        return min(self._seconds, left + (self._clock() - since) * self._rate)
