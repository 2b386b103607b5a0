"""Limits concurrent requests: the one place where requests wait for others."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from ...errors import Refusal, TooManyRequests, Unavailable
from .. import loop

# The tenant of the work: a user, or the network of an unauthenticated client. None: no request
# (commands, the process `worker`), and so no limit for one tenant.
TENANT: ContextVar[str | None] = ContextVar("tenant", default=None)

_MAX_WAITING = 64
_WAIT_SECONDS = 5.0


class _TenantQueue:
    """The requests of one tenant: its held slots, and those that wait."""

    __slots__ = ("held", "tenant", "waiting")

    def __init__(self, tenant: str | None) -> None:
        self.tenant = tenant
        self.held = 0
        # The result says whether the request gets a slot.
        self.waiting: deque[Future[bool]] = deque()


class Slots:
    """A number of slots, each for one request at a time.

    Tenants that wait are served round-robin. The requests of one tenant are served in the order of
    their arrival.
    """

    def __init__(
        self,
        size: int,
        on_refusal: Callable[[], None],
        *,
        wait_seconds: float = _WAIT_SECONDS,
        capacity: int | None = None,
        waiting_per_slot: int | None = None,
        may_hang: bool = False,
    ) -> None:
        """Creates `size` slots, with one queue for each tenant.

        `capacity` is how many requests may hold a slot or wait for one; by default 64 more for each
        slot. They wait for at most `wait_seconds`. `on_refusal` is called for each rejected one.

        If `waiting_per_slot` is given, one tenant may hold half of the slots (at least one). For
        each of these, that many of its requests may wait.

        `may_hang`: an external system may delay requests that hold a slot. A tenant is then not at
        fault if its own requests keep it waiting for too long.
        """
        self._max_waiting = _MAX_WAITING * size if capacity is None else max(0, capacity - size)
        self._free = size if capacity is None else min(size, capacity)
        self._wait_seconds = wait_seconds
        self._on_refusal = on_refusal
        self._is_shared = waiting_per_slot is not None
        self._may_hang = may_hang
        self._max_held_by_one = max(1, size // 2) if self._is_shared else size
        self._max_waiting_of_one = (waiting_per_slot or 0) * self._max_held_by_one
        self._queues: dict[str | None, _TenantQueue] = {}
        # The queues that may get the next slot, in that order.
        self._ready: deque[_TenantQueue] = deque()
        self._waiting = 0
        # Never held during a wait.
        self._lock = Lock()
        self._is_held: ContextVar[bool] = ContextVar("is_held", default=False)

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return self._waiting

    @property
    def tenants(self) -> int:
        """The number of tenants that hold a slot or wait; no state is kept for others."""
        return len(self._queues)

    @property
    def is_held(self) -> bool:
        """Whether the current request holds a slot."""
        return self._is_held.get()

    def try_acquire(self, tenant: str | None) -> bool:
        """Returns whether a slot was acquired for `tenant`, without waiting."""
        with self._lock:
            queue = self._queue(tenant)
            has_slot = self._try_hold(queue)
            self._discard_if_empty(queue)
            return has_slot

    def acquire_later(self, tenant: str | None) -> Future[bool]:
        """Returns a future that is done once `tenant` holds a slot.

        For callers that do not wait, and that limit how many slots they request.
        """
        granted: Future[bool] = Future()
        with self._lock:
            queue = self._queue(tenant)
            if self._try_hold(queue):
                granted.set_result(True)
            else:
                self._append(queue, granted)
        return granted

    def release(self, tenant: str | None) -> None:
        """Releases a slot that `tenant` holds, and grants free ones to the next in line."""
        with self._lock:
            queue = self._queues[tenant]
            self._free += 1
            queue.held -= 1
            self._append_ready(queue)
            while self._free and self._ready:
                following = self._ready.popleft()
                self._waiting -= 1
                self._hold(following)
                following.waiting.popleft().set_result(True)
                self._append_ready(following)
            self._discard_if_empty(queue)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Holds a slot in the block.

        A request that holds one already needs no other. Raises TooManyRequests if too many requests
        of the tenant wait, or if it has waited too long behind other requests of the tenant. Raises
        Unavailable if too many requests wait in all, or it has waited too long behind other tenants
        or for an external system.
        """
        if self._is_held.get():
            yield
            return
        tenant = TENANT.get()
        try:
            self._acquire(tenant)
        except Refusal:
            self._on_refusal()
            raise
        token = self._is_held.set(True)
        try:
            yield
        finally:
            self._is_held.reset(token)
            self.release(tenant)

    def _acquire(self, tenant: str | None) -> None:
        with self._lock:
            queue = self._queue(tenant)
            if self._try_hold(queue):
                return
            is_behind_own = bool(queue.held or queue.waiting)
            granted = self._enqueue(queue)
        try:
            has_slot = loop.result(granted, self._wait_seconds)
        except TimeoutError:
            has_slot = self._cancel(queue, granted)
        except BaseException:
            if self._cancel(queue, granted):
                self.release(tenant)
            raise
        if not has_slot:
            is_late = not granted.done()
            raise self._refusal(is_behind_own and not (is_late and self._may_hang))

    def _enqueue(self, queue: _TenantQueue) -> Future[bool]:
        """Returns a future that is done when the request gets a slot or is rejected."""
        is_full = self._is_limited(queue) and len(queue.waiting) >= self._max_waiting_of_one
        if is_full or (self._waiting >= self._max_waiting and not self._reject_last(queue)):
            self._discard_if_empty(queue)
            raise self._refusal(is_full)
        granted: Future[bool] = Future()
        self._append(queue, granted)
        return granted

    def _append(self, queue: _TenantQueue, granted: Future[bool]) -> None:
        queue.waiting.append(granted)
        self._waiting += 1
        self._append_ready(queue)

    def _reject_last(self, queue: _TenantQueue) -> bool:
        """Rejects the last request of the longest queue, unless `queue` is about as long."""
        longest = max(self._queues.values(), key=lambda other: len(other.waiting))
        if len(longest.waiting) <= len(queue.waiting) + 1:
            return False
        longest.waiting.pop().set_result(False)
        self._waiting -= 1
        return True

    def _cancel(self, queue: _TenantQueue, granted: Future[bool]) -> bool:
        """Stops waiting. Returns whether the slot was granted at the last moment."""
        with self._lock:
            if granted.done():
                return granted.result()
            queue.waiting.remove(granted)
            self._waiting -= 1
            if not queue.waiting and queue in self._ready:
                self._ready.remove(queue)
            self._discard_if_empty(queue)
            return False

    def _queue(self, tenant: str | None) -> _TenantQueue:
        return self._queues.setdefault(tenant, _TenantQueue(tenant))

    def _try_hold(self, queue: _TenantQueue) -> bool:
        if not self._free or not self._may_hold(queue):
            return False
        self._hold(queue)
        return True

    def _hold(self, queue: _TenantQueue) -> None:
        self._free -= 1
        queue.held += 1

    def _append_ready(self, queue: _TenantQueue) -> None:
        if queue.waiting and self._may_hold(queue) and queue not in self._ready:
            self._ready.append(queue)

    def _may_hold(self, queue: _TenantQueue) -> bool:
        return not self._is_limited(queue) or queue.held < self._max_held_by_one

    def _is_limited(self, queue: _TenantQueue) -> bool:
        return self._is_shared and queue.tenant is not None

    def _discard_if_empty(self, queue: _TenantQueue) -> None:
        if not queue.held and not queue.waiting:
            self._queues.pop(queue.tenant, None)

    def _refusal(self, is_own_fault: bool) -> Refusal:
        if self._is_shared and is_own_fault and TENANT.get() is not None:
            return TooManyRequests(
                "Too many of your requests are waiting. Send fewer at once.", retry_after=1
            )
        return Unavailable(
            "Too many requests are waiting. Retry after the delay in Retry-After.", retry_after=1
        )
