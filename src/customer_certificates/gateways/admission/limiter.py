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

_MOST_WAITING = 64
_WAIT_SECONDS = 5.0


class _TenantQueue:
    """The requests of one tenant: its held slots, and its queue."""

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
        places: int | None = None,
        waiting_of_one: int | None = None,
        may_hang: bool = False,
    ) -> None:
        """Creates `size` slots, with a queue of `places` in all.

        `places` is how many requests may hold a slot or wait for one; by default 64 for each slot.
        They wait for at most `wait_seconds`. `on_refusal` is called for each rejected request.

        If `waiting_of_one` is given, one tenant may hold half of the slots (at least one). For each
        of these, that many of its requests may wait.

        `may_hang`: an external system may delay requests that hold a slot. A tenant is then not at
        fault if its own requests keep it waiting for too long.
        """
        self._most_waiting = _MOST_WAITING * size if places is None else max(0, places - size)
        self._free = size if places is None else min(size, places)
        self._wait_seconds = wait_seconds
        self._on_refusal = on_refusal
        self._is_shared = waiting_of_one is not None
        self._may_hang = may_hang
        self._most_of_one = max(1, size // 2) if self._is_shared else size
        self._waiting_of_one = (waiting_of_one or 0) * self._most_of_one
        self._lanes: dict[str | None, _TenantQueue] = {}
        # The lanes that may get the next slot, in that order.
        self._turns: deque[_TenantQueue] = deque()
        self._waiting = 0
        # Never held during a wait.
        self._lock = Lock()
        self._has_one: ContextVar[bool] = ContextVar("has_one", default=False)

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return self._waiting

    @property
    def tenants(self) -> int:
        """The number of tenants that hold a slot or wait for one.

        No state is kept for other tenants.
        """
        return len(self._lanes)

    @property
    def held(self) -> bool:
        """Whether the current request holds a slot."""
        return self._has_one.get()

    def try_acquire(self, tenant: str | None) -> bool:
        """Acquires a slot for `tenant` without waiting.

        Returns whether it was acquired.
        """
        with self._lock:
            lane = self._lane(tenant)
            has_one = self._hold_if_free(lane)
            self._forget(lane)
            return has_one

    def acquire_later(self, tenant: str | None) -> Future[bool]:
        """Returns a future that is done once `tenant` holds a slot.

        For callers that do not wait, and that limit how many slots they request.
        """
        place: Future[bool] = Future()
        with self._lock:
            lane = self._lane(tenant)
            if self._hold_if_free(lane):
                place.set_result(True)
            else:
                self._append(lane, place)
        return place

    def release(self, tenant: str | None) -> None:
        """Releases a slot that `tenant` holds."""
        with self._lock:
            self._give_back(self._lanes[tenant])

    @contextmanager
    def one(self) -> Iterator[None]:
        """Holds a slot in the block.

        A request that holds one already needs no other. Raises TooManyRequests if too many requests
        of the tenant wait, or if it has waited too long behind other requests of the tenant. Raises
        Unavailable if too many requests wait in all, or it has waited too long behind other tenants
        or for an external system.
        """
        if self._has_one.get():
            yield
            return
        try:
            lane = self._take()
        except Refusal:
            self._on_refusal()
            raise
        token = self._has_one.set(True)
        try:
            yield
        finally:
            self._has_one.reset(token)
            self.release(lane.tenant)

    def _take(self) -> _TenantQueue:
        with self._lock:
            lane = self._lane(TENANT.get())
            if self._hold_if_free(lane):
                return lane
            is_behind_own = bool(lane.held or lane.waiting)
            place = self._line_up(lane)
        try:
            has_come = loop.result(place, self._wait_seconds)
        except TimeoutError:
            has_come = self._leave(lane, place)
        except BaseException:
            if self._leave(lane, place):
                self.release(lane.tenant)
            raise
        if not has_come:
            is_late = not place.done()
            raise self._refusal(is_behind_own and not (is_late and self._may_hang))
        return lane

    def _line_up(self, lane: _TenantQueue) -> Future[bool]:
        """Returns a place in the lane.

        Raises TooManyRequests, Unavailable.
        """
        is_full = self._is_limited(lane) and len(lane.waiting) >= self._waiting_of_one
        if is_full or (self._waiting >= self._most_waiting and not self._make_room(lane)):
            self._forget(lane)
            raise self._refusal(is_full)
        place: Future[bool] = Future()
        self._append(lane, place)
        return place

    def _append(self, lane: _TenantQueue, place: Future[bool]) -> None:
        lane.waiting.append(place)
        self._waiting += 1
        self._give_turn(lane)

    def _make_room(self, lane: _TenantQueue) -> bool:
        """Rejects the last request of the longest lane.

        Does nothing if `lane` is about as long.
        """
        longest = max(self._lanes.values(), key=lambda one: len(one.waiting))
        if len(longest.waiting) <= len(lane.waiting) + 1:
            return False
        longest.waiting.pop().set_result(False)
        self._waiting -= 1
        return True

    def _leave(self, lane: _TenantQueue, place: Future[bool]) -> bool:
        """Gives up the place.

        Returns whether the slot was assigned at the last moment.
        """
        with self._lock:
            if place.done():
                return place.result()
            lane.waiting.remove(place)
            self._waiting -= 1
            if not lane.waiting and lane in self._turns:
                self._turns.remove(lane)
            self._forget(lane)
            return False

    def _give_back(self, lane: _TenantQueue) -> None:
        self._free += 1
        lane.held -= 1
        self._give_turn(lane)
        while self._free and self._turns:
            following = self._turns.popleft()
            self._waiting -= 1
            self._hold(following)
            following.waiting.popleft().set_result(True)
            self._give_turn(following)
        self._forget(lane)

    def _lane(self, tenant: str | None) -> _TenantQueue:
        return self._lanes.setdefault(tenant, _TenantQueue(tenant))

    def _hold_if_free(self, lane: _TenantQueue) -> bool:
        if not self._free or not self._may_hold(lane):
            return False
        self._hold(lane)
        return True

    def _hold(self, lane: _TenantQueue) -> None:
        self._free -= 1
        lane.held += 1

    def _give_turn(self, lane: _TenantQueue) -> None:
        if lane.waiting and self._may_hold(lane) and lane not in self._turns:
            self._turns.append(lane)

    def _may_hold(self, lane: _TenantQueue) -> bool:
        return not self._is_limited(lane) or lane.held < self._most_of_one

    def _is_limited(self, lane: _TenantQueue) -> bool:
        return self._is_shared and lane.tenant is not None

    def _forget(self, lane: _TenantQueue) -> None:
        if not lane.held and not lane.waiting:
            self._lanes.pop(lane.tenant, None)

    def _refusal(self, is_own_fault: bool) -> Refusal:
        if self._is_shared and is_own_fault and TENANT.get() is not None:
            return TooManyRequests(
                "Too many of your requests are waiting. Send fewer at once.", retry_after=1
            )
        return Unavailable(
            "Too many requests are waiting. Retry after the delay in Retry-After.", retry_after=1
        )
