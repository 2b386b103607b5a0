"""Limits of the CPU time that each tenant uses."""

import math
from collections.abc import Callable
from threading import Lock
from time import monotonic

from ...errors import TooManyRequests
from .limiter import TENANT
from .token_buckets import TokenBuckets


class CpuBudget:
    """A budget of CPU time for each tenant: `seconds` at the start, and as much every minute.

    The time is known only after the work, so a tenant's balance may become negative. The tenant
    then waits. Work for no tenant is not counted.
    """

    def __init__(
        self, seconds: float, on_refusal: Callable[[], None], clock: Callable[[], float] = monotonic
    ) -> None:
        """Calls `on_refusal` for each rejected request."""
        self._seconds = seconds
        self._rate = seconds / 60
        self._on_refusal = on_refusal
        self._clock = clock
        self._buckets = TokenBuckets(self._rate, seconds)
        self._lock = Lock()

    def require(self) -> None:
        """Raises TooManyRequests if the tenant has used up its budget."""
        tenant = TENANT.get()
        if tenant is None:
            return
        with self._lock:
            balance = self._buckets.left(tenant, self._clock())
        if balance <= 0:
            self._on_refusal()
            raise TooManyRequests(
                f"Validating your uploads took more than {self._seconds:g} seconds of CPU time "
                "a minute. Retry after the delay in Retry-After.",
                retry_after=math.floor(-balance / self._rate) + 1,
            )

    def spend(self, seconds: float) -> None:
        """Subtracts CPU time that the tenant has used."""
        tenant = TENANT.get()
        if tenant is not None:
            with self._lock:
                self._buckets.spend(tenant, seconds, self._clock())
